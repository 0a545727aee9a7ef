"""Network of the DCASE 2024 baseline: that of 2023 with distances, without output activation, and with pictures."""

from __future__ import annotations

from torch import Tensor

from net.crnn_parts import VisualFusion, in_tracks
from net.seldnet2023 import SELDnet2023


class SELDnet2024(SELDnet2023):
    """CRNN of the DCASE 2024 baseline (DCASE2024_seld_baseline) for sound alone; the published weights load.

    Parameters
    ----------
    others : see `SELDnet2023`
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, elements: int = 4):
        super().__init__(in_channels, classes, bins=bins, tracks=tracks, elements=elements)

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """(batch, maps, T, bins) -> (batch, tracks, x y z distance, classes, T // 5), any numbers."""
        return in_tracks(self.outputs(self.embedded(audio)), self.tracks, self.classes)


class AudioVisualSELDnet2024(VisualFusion, SELDnet2024):
    """The same with pictures: the sound's label frames attend to ResNet-50 features of 7 x 7.

    Parameters
    ----------
    others : see `SELDnet2023`
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, elements: int = 4):
        SELDnet2024.__init__(self, in_channels, classes, bins=bins, tracks=tracks, elements=elements)
        self.add_visual_branch()

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """As `SELDnet2024`, with visual (batch, looks, 7, 7)."""
        return in_tracks(self.outputs(self.fused(self.embedded(audio), visual)), self.tracks, self.classes)
