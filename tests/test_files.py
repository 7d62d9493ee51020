"""Files and folders that appear whole or not at all, and their names."""

from pathlib import Path

import pytest

from harness.files import draft_folder, slug, write


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write(path, "old")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_that_was_not_finished_does_not_take_its_name(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    with pytest.raises(RuntimeError), draft_folder(target) as draft:
        (draft / "half").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "C:\\x", "a\nb"])
def test_a_name_is_no_way_out_of_the_results_folder(name: str) -> None:
    assert Path(slug(name)).name == slug(name) not in ("", ".", "..")
