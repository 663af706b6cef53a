import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deconvnet.core.segmentation import voc
from deconvnet.core.segmentation.submission import FOLDER, check_submission, write_submission

IDS = ["2008_000002", "2007_000001", "2009_000003"]
SIZES = {"2008_000002": (3, 4), "2007_000001": (4, 3), "2009_000003": (2, 2)}


@pytest.fixture
def results(tmp_path):
    folder, rng = tmp_path / "results", np.random.default_rng(0)
    folder.mkdir()
    for image_id in IDS:
        voc.write_label(folder / f"{image_id}.png", rng.integers(0, 21, SIZES[image_id]))
    return folder


@pytest.fixture
def archive(tmp_path, results):
    assert write_submission(tmp_path / "out", results, IDS, SIZES) == []
    return tmp_path / "out" / "results.tgz"


def png(label, colors=None, **options):
    """The bytes of a palette PNG."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(label, np.uint8))
    image.putpalette((voc.palette() if colors is None else colors).tobytes())
    image.save(file, format="PNG", **options)
    return file.getvalue()


def long_text():
    """What Pillow takes for an attack."""
    text = PngInfo()
    text.add_text("comment", " " * (2 << 20), zip=True)
    return text


def repacked(path, change):
    """The archive with its {name: bytes} changed in place by `change`."""
    with tarfile.open(path) as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}
    change(contents)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_that_cannot_be_written_to_its_end_is_named_and_not_there(tmp_path, results, monkeypatch):
    whole = os.replace

    def full(part, path):
        if str(path).endswith(".tgz"):
            raise OSError(28, "No space left on device")
        whole(part, path)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"results.tgz: cannot be written \(No space left on device\)"):
        write_submission(tmp_path / "out", results, IDS, SIZES)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results"]


def test_the_archive_holds_the_predictions_in_the_servers_folder_and_nothing_else(archive, results):
    with tarfile.open(archive) as packed:
        assert packed.getnames() == [
            f"results/VOC2012/Segmentation/comp6_test_cls/{image_id}.png" for image_id in sorted(IDS)
        ]
        for image_id in IDS:
            with Image.open(packed.extractfile(f"{FOLDER}/{image_id}.png")) as image:
                assert image.mode == "P" and image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
                np.testing.assert_array_equal(np.array(image), voc.read_label(results / f"{image_id}.png"))


def test_the_same_images_lie_beside_the_archive(archive, results):
    for image_id in IDS:
        written = voc.read_label(archive.parent / FOLDER / f"{image_id}.png")
        np.testing.assert_array_equal(written, voc.read_label(results / f"{image_id}.png"))


def test_what_is_written_passes_the_check(archive):
    assert check_submission(archive, IDS, SIZES) == []


def test_the_same_predictions_give_the_same_bytes(tmp_path, archive, results):
    for path in results.iterdir():
        path.touch()
    write_submission(tmp_path / "again", results, IDS[::-1], SIZES)
    assert (tmp_path / "again" / "results.tgz").read_bytes() == archive.read_bytes()


def test_grey_predictions_get_the_palette(tmp_path, results):
    Image.fromarray(np.full((2, 2), 20, np.uint8)).save(results / f"{IDS[2]}.png")
    assert write_submission(tmp_path / "out", results, IDS, SIZES) == []
    assert check_submission(tmp_path / "out" / "results.tgz", IDS, SIZES) == []


def missing(path):
    path.unlink()
    return "no such file"


def colours(path):
    Image.new("RGB", (4, 3)).save(path)
    return "this one holds colours"


def turned(path):
    voc.write_label(path, np.zeros((4, 3), np.uint8))
    return "4x3 pixels, but its image has 3x4"


def void(path):
    voc.write_label(path, np.full((3, 4), 255, np.uint8))
    return "holds class 255, but the classes are 0 to 20"


@pytest.mark.parametrize("spoil", [missing, colours, turned, void])
def test_a_bad_prediction_is_named_and_nothing_is_packed(tmp_path, archive, results, spoil):
    message = spoil(results / f"{IDS[0]}.png")
    (fault,) = write_submission(tmp_path / "out", results, IDS, SIZES)
    assert fault.startswith(f"{results}/{IDS[0]}.png: ") and message in fault
    assert not archive.exists()


NAME = f"{FOLDER}/{IDS[0]}.png"


@pytest.mark.parametrize(
    "content, fault",
    [
        (png(np.zeros((4, 3))), "is 4x3 pixels, but its image 3x4"),
        (png(np.full((3, 4), 21)), "holds class 21, but the classes are 0 to 20"),
        (png(np.full((3, 4), 255)), "holds class 255, but"),
        (png(np.full((3, 4), 2), voc.palette()[::-1]), "has a palette that is not VOC's"),
        (png(np.zeros((3, 4)))[:40], "is not an image that Pillow can read"),
        (png(np.zeros((3, 4)), pnginfo=long_text()), "is not an image that Pillow can read"),
        (b"", "is not an image that Pillow can read"),
    ],
)
def test_a_bad_image_in_an_archive_is_named(archive, content, fault):
    repacked(archive, lambda contents: contents.update({NAME: content}))
    (told,) = check_submission(archive, IDS, SIZES)
    assert told.startswith(f"{archive}: {NAME} {fault}")


@pytest.mark.parametrize("mode, kind", [("RGB", "PNG"), ("RGBA", "PNG"), ("L", "PNG"), ("P", "GIF"), ("L", "JPEG")])
def test_only_palette_pngs_are_taken(archive, mode, kind):
    file = io.BytesIO()
    Image.new(mode, (4, 3)).save(file, format=kind)
    repacked(archive, lambda contents: contents.update({NAME: file.getvalue()}))
    (told,) = check_submission(archive, IDS, SIZES)
    assert f"{NAME} is no palette PNG but {kind} {mode}: write indices, not colours" in told


def test_a_palette_cut_to_the_colours_in_use_is_taken(archive):
    content = png(np.full((3, 4), 1), voc.palette()[:2])
    repacked(archive, lambda contents: contents.update({NAME: content}))
    assert check_submission(archive, IDS, SIZES) == []


def test_a_missing_image_is_named(archive):
    repacked(archive, lambda contents: contents.pop(NAME))
    assert check_submission(archive, IDS, SIZES) == [f"{archive}: {NAME} is missing"]


@pytest.mark.parametrize("extra", [f"{FOLDER}/2011_000001.png", f"{FOLDER}/Thumbs.db", "readme.txt", f"../{NAME}"])
def test_a_file_too_many_is_named(archive, extra):
    repacked(archive, lambda contents: contents.update({extra: b"x"}))
    (told,) = check_submission(archive, IDS, SIZES)
    assert told.startswith(f"{archive}: {extra} does not belong there")


@pytest.mark.parametrize("folder", ["VOC2012/Segmentation/comp6_test_cls", FOLDER.replace("comp6", "comp5"), "."])
def test_another_folder_is_refused_for_every_image(archive, folder):
    def move(contents):
        for name in list(contents):
            contents[f"{folder}/{name.rsplit('/', 1)[1]}"] = contents.pop(name)

    faults = check_submission(repacked(archive, move), IDS, SIZES)
    assert len([f for f in faults if "does not belong there" in f]) == 3
    assert len([f for f in faults if f.endswith("is missing")]) == 3


def test_an_archive_as_tar_packs_a_folder_is_taken(tmp_path, archive):
    with tarfile.open(tmp_path / "own.tgz", "w:gz") as packed:
        packed.add(archive.parent / "results", "./results")
    assert check_submission(tmp_path / "own.tgz", IDS, SIZES) == []


def test_an_image_that_is_there_twice_and_one_that_is_a_link_are_named(tmp_path, archive):
    with tarfile.open(tmp_path / "own.tgz", "w:gz") as packed:
        for image_id in [*IDS[:2], IDS[0]]:
            packed.add(archive.parent / FOLDER / f"{image_id}.png", f"{FOLDER}/{image_id}.png")
        link = tarfile.TarInfo(f"{FOLDER}/{IDS[2]}.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    faults = check_submission(tmp_path / "own.tgz", IDS, SIZES)
    assert faults == [
        f"{tmp_path}/own.tgz: {NAME} is there twice",
        f"{tmp_path}/own.tgz: {FOLDER}/{IDS[2]}.png is no plain file",
    ]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_file_that_is_no_whole_archive_is_an_error(archive, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(voc.DataError, match=r"results\.tgz: not a whole \.tgz archive"):
        check_submission(archive, IDS, SIZES)


def test_an_archive_with_flipped_bits_is_an_error(archive):
    content = bytearray(archive.read_bytes())
    content[60:80] = bytes(20)
    archive.write_bytes(content)
    with pytest.raises(voc.DataError, match=r"results\.tgz: not a whole \.tgz archive"):
        check_submission(archive, IDS, SIZES)


def test_an_absent_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.tgz: no such file"):
        check_submission(tmp_path / "x.tgz", IDS, SIZES)
