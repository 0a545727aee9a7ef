"""The data sets and weights that are known: what they are, where they come from, and what is not known of them (None).

Facts are those of the records and of their documentation. What a table cannot know for sure is asked of the record
when something is downloaded: the record's checksum goes first, the table's is taken where the record cannot be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detection.models import OFFICIAL
from detection.models import URL as YOLOX_URL
from util.errors import InputError


@dataclass(frozen=True)
class Source:
    """A file of a data set.

    Attributes
    ----------
    name : as the record calls it
    size : in bytes; None: not known
    checksum : "md5:..." or "sha256:..."; None: not known
    record : number of its Zenodo record; None: of the data set's
    """

    name: str
    size: int | None = None
    checksum: str | None = None
    record: int | None = None

    @property
    def archive(self) -> str:
        """The archive that it is, or is a part of: "foa_dev" of foa_dev.z01; the name itself where it is none."""
        name = self.name
        stem, _, last = name.rpartition(".")
        if last.isdigit() and stem.endswith(".zip"):
            return stem.removesuffix(".zip")
        if last == "zip" or (last[:1] == "z" and last[1:].isdigit()):
            return stem
        return name

    @property
    def is_archive(self) -> bool:
        """Whether it is unpacked."""
        return self.archive != self.name

    @property
    def order(self) -> tuple[int, int]:
        """Place among the parts of its archive: .z01, .z02 ..., .zip; .001, .002 ..."""
        last = self.name.rpartition(".")[2].removeprefix("z")
        return (0, int(last)) if last.isdigit() else (1, 0)


@dataclass(frozen=True)
class DataSet:
    """A data set, or weights, that `python -m dataset download` can fetch.

    Attributes
    ----------
    name : on the command line
    layout : of `dataset.layouts`; None: it is no data root
    edition : challenge or paper that it belongs to
    hours : of sound; None: not known
    record : number of its Zenodo record; None: its files come from `url`
    files : what is fetched; (): all that the record lists
    remark : what else one must know
    root : folder that it goes to by default; "": data_NAME
    joins : layout of a root that becomes one of its own layout when it is added there
    """

    name: str
    title: str
    layout: str | None
    edition: str
    hours: float | None
    formats: str
    licence: str
    citation: str
    record: int | None
    files: tuple[Source, ...] = ()
    url: str = ""
    remark: str = ""
    root: str = ""
    joins: str = ""

    @property
    def weights(self) -> bool:
        """Whether it is weights of a network: they go to the cache of the project."""
        return self.layout is None

    @property
    def folder(self) -> str:
        """Data root that it goes to by default."""
        return self.root or f"data_{self.name}"

    @property
    def size(self) -> int | None:
        """Bytes of the files whose size is known; None: of none."""
        known = [file.size for file in self.files if file.size is not None]
        return sum(known) if known else None

    @property
    def size_complete(self) -> bool:
        """Whether the size of every file is known."""
        return bool(self.files) and all(file.size is not None for file in self.files)

    @property
    def place(self) -> str:
        """Where it comes from, for people."""
        if self.record is None:
            return "/".join(self.url.split("/")[2:5])
        return f"zenodo.org/records/{self.record}"


def _md5(name: str, checksum: str | None = None, size: int | None = None, record: int | None = None) -> Source:
    return Source(name, size, None if checksum is None else f"md5:{checksum}", record)


_STARSS = "MIT"
_POLITIS = "Politis, Adavanne, Virtanen"
_SELDNET = "Adavanne, Politis, Nikunen, Virtanen, IEEE JSTSP 2018 (arXiv 1807.00129)"
_NIGENS = "CC BY-NC 4.0"
_2018 = "file names, sizes and checksums are those of the record: none are known here"


def _tut2018(layout: str, what: str, record: int) -> DataSet:
    citation = _SELDNET if not layout.startswith("m") else "Adavanne, Politis, Virtanen, DCASE 2019 (arXiv 1904.12769)"
    formats = "circular8" if layout.startswith("c") else "foa"
    title = f"TUT Sound Events 2018 {layout.upper()}: {what}"
    return DataSet(layout, title, layout, "SELDnet 2018", None, formats, "?", citation, record, remark=_2018)


CATALOGUE = {
    row.name: row
    for row in (
        DataSet(
            "starss23",
            "STARSS23, Sony-TAu Realistic Spatial Soundscapes 2023",
            "starss23",
            "DCASE2023, 2024",
            11.0,
            "foa, mic, video",
            _STARSS,
            "Shimada et al., NeurIPS Datasets and Benchmarks 2023 (arXiv 2306.09126)",
            7880637,
            (
                _md5("foa_dev.zip", "316b834ee6393c22862c314cc3c7ebb0", 3406085425),
                _md5("foa_eval.zip", "7caa61bb6ea997f5bfac5b20177f505a", 1643937003),
                _md5("metadata_dev.zip", "e73af95a6d5f3f7e009ac6a70804f44a", 1165845),
                _md5("mic_dev.zip", "06967bcc8def1580c2425fabc311dbd2"),
                _md5("mic_eval.zip"),
                _md5("video_dev.zip"),
                _md5("video_eval.zip"),
                _md5("README.md", "bbfde2b9d0e47c7dafd3cbc92107c920", 28707),
                _md5("LICENSE", "1c11108eda7c915172b10c48276cc189", 1194),
            ),
            remark="the whole record is about 16.3 GB; recordings to evaluate have no labels; 12 have no video",
            root="data_dcase2023_task3",
        ),
        DataSet(
            "starss22",
            "STARSS22, Sony-TAu Realistic Spatial Soundscapes 2022",
            "starss22",
            "DCASE2022",
            None,
            "foa, mic",
            _STARSS,
            "Politis et al., DCASE 2022 (arXiv 2206.01948)",
            6387880,
            (
                _md5("foa_dev.zip", "165dd033b262dc11a8853635c1def59b", 2199498647),
                _md5("mic_dev.zip", "46b55d0be507afa986cd29120e42b188"),
                _md5("metadata_dev.zip", "b460e17e0848c49f03f238afb89fa87e", 634378),
            ),
            remark="121 recordings; those to evaluate are in record 6600531",
        ),
        DataSet(
            "nigens2021",
            "TAU-NIGENS Spatial Sound Events 2021",
            "nigens2021",
            "DCASE2021",
            800 / 60,
            "foa, mic",
            _NIGENS,
            f"{_POLITIS} et al., DCASE 2021 (arXiv 2106.06999)",
            5476980,
            (
                _md5("foa_dev.z01", "270a94dc5cd183ea6532c5a3f6e9036c", 4294967296),
                _md5("foa_dev.zip", "80648b5f64b1b4a824084560f1334f54", 1425535805),
                _md5("foa_eval.zip", "591f8d2b500a671ae34822b4ff1e0889", 1893873528),
                _md5("metadata_dev.zip", "cd8cd8b4dc9a3e3df91ac55c1ccf73b7", 1930087),
                _md5("metadata_eval.zip", "11c021253c8b55fd74083bd0a35c2ee4", 660393),
                _md5("mic_dev.z01", "536a5ba37b0c39f54044932b75acb774"),
                _md5("mic_dev.zip", "a5131297547431160b732a3481626c2d"),
                _md5("mic_eval.zip", "3248aef229ab4e0e0603d7c2269f4f97"),
            ),
        ),
        DataSet(
            "nigens2020",
            "TAU-NIGENS Spatial Sound Events 2020",
            "nigens2020",
            "DCASE2020",
            800 / 60,
            "foa, mic",
            _NIGENS,
            f"{_POLITIS}, DCASE 2020 (arXiv 2006.01919)",
            4064792,
            (
                _md5("foa_dev.z01", "86acab46854a57f5ba3e5b80a19c01b5"),
                _md5("foa_dev.z02", "363c8c159be003271c05a71a57b2ced4"),
                _md5("foa_dev.zip", "6aad48e7346884b3929245e7553fd97d"),
                _md5("mic_dev.z01", "3a2b0986d2a302498cd874d584d17689"),
                _md5("mic_dev.z02", "92f715cb74406d5556bce0fdf27f54e4"),
                _md5("mic_dev.zip", "9174daca52f393425120308ab5c14477"),
                _md5("foa_eval.zip", "24c6ce2441df242d4e3b61e9bb27d0d7"),
                _md5("mic_eval.zip", "bca79b5f71b46e4cb191c54a611348a4"),
                _md5("metadata_dev.zip", "979f5551e987ed247404b80a2f1c3db1"),
                _md5("metadata_eval.zip", "f3584166d9a63b43c1e301b6fb722293"),
            ),
        ),
        DataSet(
            "tau2019",
            "TAU Spatial Sound Events 2019",
            "tau2019",
            "DCASE2019",
            500 / 60,
            "foa, mic",
            "non-commercial",
            "Adavanne, Politis, Virtanen, DCASE 2019 (arXiv 1905.08546)",
            2599196,
            (
                _md5("foa_dev.z01", "bd5b18a47a3ed96e80069baa6b221a5a"),
                _md5("foa_dev.z02", "5194ebf43ae095190ed78691ec9889b1"),
                _md5("foa_dev.zip", "2154ad0d9e1e45bfc933b39591b49206"),
                _md5("mic_dev.z01", "3234cf0bfa7b71465ae1d67c833f7c12"),
                _md5("mic_dev.zip", "6426da74fecb351dd5add56716499e40"),
                _md5("metadata_dev.zip", "c2e5c8b0ab430dfd76c497325171245d"),
                _md5("foa_eval.zip", "4a8ca8bfb69d7c154a56a672e3b635d5", record=3377088),
                _md5("mic_eval.zip", "0ec2f743a61213480dae7d0b2f2e6c9d", record=3377088),
                _md5("metadata_eval.zip", "a0ec7640284ade0744dfe299f7ba107b", record=3377088),
            ),
            remark="48 kHz; the evaluation set is a record of its own, 3377088",
        ),
        _tut2018("ansim", "anechoic, Ambisonics", 1237703),
        _tut2018("resim", "rooms, Ambisonics", 1237707),
        _tut2018("cansim", "anechoic, circular array", 1237752),
        _tut2018("cresim", "rooms, circular array", 1237754),
        _tut2018("real", "measured rooms, street sounds, Ambisonics", 1237793),
        _tut2018("mansim", "anechoic, moving sources, Ambisonics", 2636586),
        _tut2018("mreal", "measured rooms, moving street sounds, Ambisonics", 2636594),
        DataSet(
            "synthetic2024",
            "DCASE2024 task 3, synthetic recordings for the baseline",
            "dcase2024",
            "DCASE2024",
            None,
            "foa, mic (?)",
            "?",
            "record 10932241",
            10932241,
            tuple(
                _md5(f"DCASE Task 3 synthetic dataset 2024.zip.{number:03d}", checksum, size)
                for number, (checksum, size) in enumerate(
                    (
                        ("c651f4a9670326097361763015d955f1", 4697620480),
                        ("3199250c0c7fa718888f74a7d3325400", 4697620480),
                        ("203df900f0275d8c34f04fa508b60a85", 4697620480),
                        ("12306d0d398327847734896eae3986c1", 4697620480),
                        ("d1e53c4c21dab44a1a6a6c150bc90e3f", 140056763),
                    ),
                    start=1,
                )
            ),
            remark="the edition trains on it and on STARSS23: download starss23 --to data_dcase2024_task3, too",
            root="data_dcase2024_task3",
            joins="starss23",
        ),
        DataSet(
            "stereo2025",
            "DCASE2025 task 3: stereo clips of STARSS23 with a camera's view",
            "stereo2025",
            "DCASE2025",
            40_000 * 5 / 3600,
            "stereo, video",
            "MIT",
            "Shimada et al. 2025 (arXiv 2507.12042)",
            15559774,
            tuple(
                _md5(f"{kind}.zip") for kind in ("stereo_dev", "video_dev", "metadata_dev", "stereo_eval", "video_eval")
            ),
            remark="30,000 clips with labels, 10,000 to evaluate; `python -m dataset convert stereo` makes such clips",
            root="data_dcase2025_task3",
        ),
        DataSet(
            "yolox",
            "YOLOX 0.1.1rc0, detectors of people (nano, tiny, s)",
            None,
            "object_detection.py",
            None,
            "onnx",
            "Apache-2.0",
            "Ge et al. 2021 (arXiv 2107.08430)",
            None,
            tuple(Source(row.file, row.size, f"sha256:{row.sha256}") for row in OFFICIAL.values()),
            url=YOLOX_URL,
            remark="object_detection.py fetches the one it needs by itself",
        ),
        DataSet(
            "pann",
            "PANN Cnn14, pretrained on AudioSet",
            None,
            "general network",
            None,
            "PyTorch state dict",
            "CC BY 4.0 (?)",
            "Kong et al., IEEE/ACM TASLP 2020 (arXiv 1912.10211)",
            3987831,
            (_md5("Cnn14_mAP=0.431.pth"),),
            remark="checksum and size are those of the record",
        ),
    )
}


def dataset_named(name: str) -> DataSet:
    """The row of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in CATALOGUE:
        raise InputError(f"no data set '{name}'; known are {', '.join(CATALOGUE)} (python -m dataset list)")
    return CATALOGUE[name]


def chosen(row: DataSet, files: Sequence[Source], only: Sequence[str]) -> list[Source]:
    """The files of the archives or names that --only says; all without it.

    Raises
    ------
    InputError : one that there is not
    """
    known = list(dict.fromkeys(file.archive for file in files))
    for name in only:
        if name not in known and name not in [file.name for file in files]:
            raise InputError(f"--only: {row.name} has no {name}; it has {', '.join(known)}")
    return [file for file in files if not only or file.archive in only or file.name in only]
