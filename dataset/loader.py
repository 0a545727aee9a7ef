"""The loader: carries out plans. It reads only the stretches that items need, in threads, ahead of their user."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from dataset import draws
from dataset.augment import AddedLabels, added_looks
from dataset.plans import Clips, Grid, Item, Piece, Plan, numbers_of
from dataset.recordings import Recording
from dataset.source import ClipLabels, Source, Visual, read_file

_FILL_SEED = 0  # of the noise that fills recordings up
_WHOLE_FRAMES = 6000  # of a recording that are looked at together

Encode = Callable[[Sequence[ClipLabels], Grid], Any]
Add = Callable[[int], tuple[int, float] | None]


class Augment(Protocol):
    """What is done to every item of a training, drawn from its number."""

    def __call__(
        self, waveform: np.ndarray, labels: list[Any], seen: np.ndarray | None, number: int
    ) -> tuple[np.ndarray, list[Any], np.ndarray | None]:
        """Waveform (channels, samples), labels of the pieces, visual input (looks, ...) or None: the same, changed."""
        ...

    def of_whole(self, numbers: np.ndarray, number: int) -> np.ndarray:
        """What was found in the channels of whole recordings (frames, channels): of the changed channels."""
        ...


class OfWhole:
    """Numbers that a feature needs of whole recordings: the largest over all stretches, each recording looked at once.

    Parameters
    ----------
    find : (1, channels, samples) of a stretch -> (numbers,)

    Attributes
    ----------
    known : of recordings that were read from their files, by file and length
    """

    def __init__(self, find: Callable[[torch.Tensor], np.ndarray]):
        self.find = find
        self.known: dict[tuple[Path, int], np.ndarray] = {}


class Prefetching:
    """Batches made in threads, a few ahead, in their order.

    Threads, not processes: reading, converting and transposing the samples happens outside of the interpreter's lock, a
    thread costs no memory of its own, and what is cached is cached once.
    """

    def __init__(self, workers: int, prefetch: int):
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers > 0 else None
        self._ahead = max(1, prefetch, workers)  # no thread waits for another one's batch to be used
        self._pending: deque[Future] = deque()

    def _steps(self) -> Iterator[int]:
        raise NotImplementedError

    def _make(self, step: int) -> dict[str, Any]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, Any]]:
        steps = self._steps()
        if self._executor is None:
            yield from (self._make(step) for step in steps)
            return
        try:
            for step in itertools.islice(steps, self._ahead):
                self._pending.append(self._executor.submit(self._make, step))
            while self._pending:
                batch = self._pending.popleft().result()
                for step in itertools.islice(steps, 1):
                    self._pending.append(self._executor.submit(self._make, step))
                yield batch
        finally:
            self._cancel()

    def _cancel(self) -> None:
        while self._pending:
            self._pending.popleft().cancel()

    def close(self) -> None:
        """End the threads; batches under way are dropped."""
        self._cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Prefetching:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Loader(Prefetching):
    """Batches of the items of a plan: for ever, up to `stop_step`, or every item once where the plan has an end.

    Yields
    ------
    dictionaries: "waveform" (B, channels, samples) float32, the samples that the items' frames cover; "frames" (B, T)
    int64, which frame of that waveform each frame of the item is, -1 in padding (absent where they are all frames in
    their order); "labels" as `encode` gives them, None without it; "visual" (B, looks, ...) float32 where the source
    has it; "number" (B,), "recording" (B,) of the first piece, "time_s" (B,), "keep" (B, 2), "labelled" (B,) bool

    Parameters
    ----------
    encode : (labels of the spans of the grid, grid) -> labels of the batch; `label_frame_s` is the grid's frame length
    batch_size : items per step of this process
    augment : what is done to the items
    add : (number of an item) -> number of the item to add to it and its gain, or None; of plans whose items are single
        windows that begin with a label frame
    first_step, stop_step : steps of the first batch, and of the first one that is not made
    of_whole : looks at whole recordings; batches have what it finds, as "loudest" (batch, frames, numbers)
    rank, world : this process, and how many share the items of a step
    workers : threads; 0: none, batches are made when they are asked for
    prefetch : batches ahead
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        *,
        batch_size: int,
        encode: Encode | None = None,
        label_frame_s: float = 0.1,
        augment: Augment | None = None,
        add: Add | None = None,
        of_whole: OfWhole | None = None,
        first_step: int = 0,
        stop_step: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        prefetch: int = 4,
    ):
        super().__init__(workers, prefetch)
        self.source, self.plan, self.augment, self.add, self.of_whole = source, plan, augment, add, of_whole
        self._known: dict[tuple[Path, int], np.ndarray] = {}  # what `of_whole` found in samples that no file holds
        self.batch_size = batch_size if plan.max_batch is None else min(batch_size, plan.max_batch)
        self.encode, self.label_frame_s = encode if source.labels is not None else None, label_frame_s
        self.first_step, self.stop_step, self.rank, self.world = first_step, stop_step, rank, world

    def __len__(self) -> int:
        if self.plan.count is None:
            raise TypeError("a plan without an end has no number of batches")
        return -(-self.plan.count // (self.batch_size * self.world))

    def _steps(self) -> Iterator[int]:
        stop = self.stop_step
        if self.plan.count is not None:
            stop = len(self) if stop is None else min(stop, len(self))
        return itertools.count(self.first_step) if stop is None else iter(range(self.first_step, stop))

    def _make(self, step: int) -> dict[str, Any]:
        numbers = numbers_of(step, self.batch_size, self.rank, self.world)
        if self.plan.count is not None:
            numbers = numbers[numbers < self.plan.count]
        plan, recordings = self.plan, self.source.recordings
        items = plan.items(numbers)
        samples, frames, looks, labels = self._heard_and_seen(items)
        if self.add is not None:
            for row, item in enumerate(items):
                if (drawn := self.add(item.number)) is not None:
                    self._add(row, item, drawn, samples, looks, labels)
        first = [item.pieces[0].recording for item in items]
        batch: dict[str, Any] = {
            "waveform": samples,
            "labels": None,
            "number": torch.from_numpy(numbers),
            "recording": torch.tensor(first),
            "time_s": torch.tensor([plan.time_s(item) for item in items], dtype=torch.float64),
            "keep": torch.tensor([item.keep for item in items]),
            "labelled": torch.tensor([recordings[index].labels is not None for index in first]),
        }
        if frames is not None:
            batch["frames"] = torch.from_numpy(frames)
        if self.of_whole is not None:
            loudest = self._loudest(items, self.of_whole)
            if self.augment is not None:
                loudest = np.stack([self.augment.of_whole(*one) for one in zip(loudest, numbers.tolist())])
            batch["loudest"] = torch.from_numpy(loudest)
        if looks is not None:
            batch["visual"] = torch.from_numpy(np.stack(looks))
        if labels is not None and self.encode is not None:
            grid = plan.grid(items, self.label_frame_s)
            batch["labels"] = self.encode([labels[span.item][span.piece] for span in grid.spans], grid)
        return batch

    def _heard_and_seen(
        self, items: Sequence[Item]
    ) -> tuple[torch.Tensor, np.ndarray | None, list[np.ndarray] | None, list[list[Any]] | None]:
        """Waveforms of items and their frames (see `_waveforms`), looks, labels of the pieces; all augmented."""
        source, recordings = self.source, self.source.recordings
        samples, frames = self._waveforms(items)
        waveform = samples.numpy()
        looks = None if source.visual is None else [self._look(item, source.visual) for item in items]
        labels: list[list[Any]] | None = None
        if source.labels is not None and self.encode is not None:
            labels = [[ClipLabels(source.labels, recordings[p.recording]) for p in item.pieces] for item in items]
        if self.augment is not None:
            for row, item in enumerate(items):
                clips, seen = labels[row] if labels else [], None if looks is None else looks[row]
                waveform[row], clips, seen = self.augment(waveform[row], clips, seen, item.number)
                if labels:
                    labels[row] = clips
                if looks is not None and seen is not None:
                    looks[row] = seen
        return samples, frames, looks, labels

    def _add(
        self,
        row: int,
        item: Item,
        drawn: tuple[int, float],
        samples: torch.Tensor,
        looks: list[np.ndarray] | None,
        labels: list[list[Any]] | None,
    ) -> None:
        """Add the item of a number, with a gain, to an item that stands in a row of what is given.

        One after the other: a batch with all of them in it would be new pages of memory each time.
        """
        number, gain = drawn
        (other,) = self.plan.items(np.array([number]))
        sound, _, seen, theirs = self._heard_and_seen([other])
        samples[row] += sound[0].mul_(gain)
        if looks is not None and seen is not None:
            looks[row] = added_looks(looks[row], seen[0])
        if labels is not None and theirs is not None:
            time_s = [self.plan.piece_time_s(one.pieces[0]) for one in (item, other)]
            shift = round((time_s[0] - time_s[1]) / self.label_frame_s)
            labels[row] = [AddedLabels(labels[row][0], theirs[0][0], shift)]

    def _waveforms(self, items: Sequence[Item]) -> tuple[torch.Tensor, np.ndarray | None]:
        """The pieces of each item behind each other, and which of their frames the item's frames are."""
        framing, gap = self.plan.framing, self.plan.framing.gap_frames
        held = max(sum(piece.frames for piece in item.pieces) + gap * (len(item.pieces) - 1) for item in items)
        samples = torch.zeros((len(items), self.source.channel_count, framing.samples_of(held)))
        waveform = samples.numpy()
        index = np.full((len(items), max(map(self.plan.item_frames, items))), -1, dtype=np.int64)
        for row, item in enumerate(items):
            place = done = 0
            for piece in item.pieces:
                begin = place * framing.hop
                self._stretch(piece, waveform[row, :, begin : begin + framing.samples_of(piece.frames)])
                low, high = piece.inside
                index[row, done + low : done + high] = np.arange(place + low, place + high)
                place, done = place + piece.frames + gap, done + piece.frames
        whole = index.shape[1] == held and bool((index == np.arange(held)).all())
        return samples, None if whole else index

    def _stretch(self, piece: Piece, out: np.ndarray) -> None:
        """Read the samples that the frames of a piece cover into `out` (channels, samples), which holds zeros."""
        recording, framing = self.source.recordings[piece.recording], self.plan.framing
        first, last = max(piece.start, piece.begin), min(piece.start + out.shape[1], piece.end)
        if last > first:
            out[:, first - piece.start : last - piece.start] = self.source.read(
                recording, first, last - first, framing.rate_hz
            )
        if framing.fill:
            self._fill(recording, piece, out)
        if framing.mirror:
            self._mirror(recording, piece, out)

    def _fill(self, recording: Recording, piece: Piece, out: np.ndarray) -> None:
        """Write what fills a recording up to the length that the plan takes it to have."""
        framing = self.plan.framing
        begin = max(self.source.samples_of(recording, framing.rate_hz), piece.start)
        end = min(piece.start + out.shape[1], piece.end)
        if end > begin:
            place = np.arange(begin, end)
            for channel, samples in enumerate(out):
                noise = draws.uniform(_FILL_SEED, channel, place)
                samples[begin - piece.start : end - piece.start] = framing.fill * (noise - 1)

    def _mirror(self, recording: Recording, piece: Piece, out: np.ndarray) -> None:
        """Fill what lies beyond the ends of a recording with its mirror image: sample -k is sample k."""
        framing, end = self.plan.framing, piece.start + out.shape[1]
        length = min(self.source.samples_of(recording, framing.rate_hz), piece.end)
        beyond = [range(piece.start, 0)]
        if framing.mirror == "both" and end > length == piece.end:  # one that is filled up ends in what fills it
            beyond.append(range(max(length, piece.start), end))
        for places in beyond:
            if not len(places):
                continue
            place = np.asarray(places)
            period = max(2 * (length - 1), 1)  # mirrored again and again where the recording is shorter
            place = np.mod(place, period)
            place = np.where(place < length, place, period - place)
            low, high = int(place.min()), int(place.max()) + 1
            samples = self.source.read(recording, low, high - low, framing.rate_hz)
            out[:, places.start - piece.start : places.stop - piece.start] = samples[:, place - low]

    def _loudest(self, items: Sequence[Item], of_whole: OfWhole) -> np.ndarray:
        """What was found in the recordings of each frame of the items (batch, frames, numbers); 0 where none is."""
        found = [[self._found(piece.recording, of_whole) for piece in item.pieces] for item in items]
        out = np.zeros((len(items), max(map(self.plan.item_frames, items)), len(found[0][0])), dtype=np.float32)
        for row, item in enumerate(items):
            done = 0
            for piece, numbers in zip(item.pieces, found[row]):
                out[row, done : done + piece.frames] = numbers
                done += piece.frames
        return out

    def _found(self, recording: int, of_whole: OfWhole) -> np.ndarray:
        """What is found in a recording, as it is before any augmentation."""
        source, framing, lengths = self.source, self.plan.framing, self.plan.lengths
        in_file = source.read is read_file
        known, path = (of_whole.known if in_file else self._known), source.recordings[recording].audio
        key = (path if in_file else Path(str(recording)), int(lengths[recording]))
        if key not in known:
            whole, found = Clips(framing, lengths, frames=None, limit=_WHOLE_FRAMES), []
            for item in whole.items(whole.numbers_in(recording)):
                (piece,) = item.pieces
                samples = torch.zeros((1, source.channel_count, framing.samples_of(piece.frames)))
                self._stretch(piece, samples[0].numpy())
                found.append(of_whole.find(samples))
            known[key] = np.maximum.reduce(found)
        return known[key]

    def _look(self, item: Item, visual: Visual) -> np.ndarray:
        """What is seen during an item: (looks, ...)."""
        looks = self.plan.looks(item)
        seen = [visual(self.source.recordings[index], times_s) for index, times_s in looks if len(times_s)]
        return seen[0] if len(seen) == 1 else np.concatenate(seen)
