"""`make bench-gpu`: stages one after the other, their rows kept as they come, whatever a stage does; and how the pages show them."""

import json
import sys

import compare_gpu
import pytest
import render_gpu
from compare_gpu import Stage

ROW = '{"part": "kernel", "name": "relu", "mode": "float32", "ms": 1.0}'


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """Run compare_gpu.py over stages that are shell scripts; returns what it wrote."""

    def run(scripts, *arguments, python="/bin/sh"):
        stages = []
        for number, (name, script) in enumerate(scripts.items()):
            (tmp_path / f"{number}.sh").write_text(script)
            stages.append(Stage(name, "peer" if name.startswith("peer") else "ours", 30, f"{number}.sh"))
        monkeypatch.setattr(compare_gpu, "HERE", tmp_path)
        monkeypatch.setattr(compare_gpu, "STAGES", stages)
        monkeypatch.setattr(compare_gpu.sys, "executable", python)
        out = tmp_path / "gpu.json"
        monkeypatch.setattr(sys, "argv", ["compare_gpu.py", "--device", "cpu", "--out", str(out), *arguments])
        compare_gpu.main()
        return json.loads(out.read_text())

    return run


def test_rows_are_kept_with_their_stage_and_side_and_what_they_were_measured_on(compare, capsys):
    about = '{"part": "about", "device": "a GPU", "cupy": "14"}'
    result = compare(
        {"ours a": f"echo '{about}'; echo '{ROW}'; echo Warning: x", "peer b": f"echo '{ROW}'"}, "--peer", "/bin/sh"
    )
    assert [(row["stage"], row["side"], row["ms"]) for row in result["rows"]] == [
        ("ours a", "ours", 1),
        ("peer b", "peer", 1),
    ]
    assert result["about"]["device"] == "a GPU" and "part" not in result["about"]
    for name in ("commit", "date", "command", "processors", "size", "batch"):
        assert result["about"][name]
    assert "float32 relu: 1 ms" in capsys.readouterr().out


def test_without_a_peer_only_ours_is_measured(compare):
    result = compare({"ours a": f"echo '{ROW}'", "peer b": f"echo '{ROW}'"})
    assert [row["stage"] for row in result["rows"]] == ["ours a"]


def test_a_stage_that_fails_leaves_its_rows_and_what_it_said(compare):
    result = compare({"ours a": f"echo '{ROW}'; echo no device >&2; exit 3", "ours b": f"echo '{ROW}'"})
    assert [row.get("error") for row in result["rows"]] == [None, "ended with status 3: no device", None]


def test_a_stage_that_does_not_end_is_ended_and_leaves_its_rows(compare, monkeypatch):
    monkeypatch.setattr(compare_gpu, "LEAST", 0)
    result = compare({"ours a": f"echo '{ROW}'; sleep 60 & sleep 60"}, "--minutes", "0.01")
    assert [row.get("error", "")[:15] for row in result["rows"]] == ["", "not done within"]


def test_what_is_left_out_for_time_is_said(compare):
    result = compare({"ours a": f"echo '{ROW}'"}, "--minutes", "0.1")
    assert [row["error"] for row in result["rows"]] == ["left out: the 0.1 minutes are over"]


def test_a_second_run_of_some_stages_keeps_the_others(compare):
    compare({"ours a": f"echo '{ROW}'", "ours b": f"echo '{ROW}'; exit 1"})
    result = compare({"ours a": "exit 1", "ours b": f"echo '{ROW}'"}, "--only", "ours b")
    assert [(row["stage"], "error" in row) for row in result["rows"]] == [("ours a", False), ("ours b", False)]


def test_a_copy_without_git_is_told_its_commit(compare):
    assert compare({"ours a": f"echo '{ROW}'"}, "--commit", "abc1234")["about"]["commit"] == "abc1234"


def test_rows_of_another_commit_are_not_kept(compare, tmp_path):
    result = compare({"ours a": f"echo '{ROW}'"})
    result["about"]["commit"] = "another"
    (tmp_path / "gpu.json").write_text(json.dumps(result))
    with pytest.raises(
        SystemExit, match="gpu.json is of commit another, not .*: give another --out, or measure everything anew"
    ):
        compare({"ours a": f"echo '{ROW}'"}, "--only", "ours a")


def test_without_a_gpu_nothing_is_measured_or_written(compare, tmp_path, monkeypatch):
    (tmp_path / "query.sh").write_text("echo no GPU: none >&2; exit 1")
    monkeypatch.setattr(compare_gpu, "QUERY", tmp_path / "query.sh")
    with pytest.raises(SystemExit) as ended:
        compare({"ours a": f"echo '{ROW}'"}, "--device", "gpu")
    assert ended.value.code == 1 and not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--size", "100"], "multiple of 32"),
        (["--batch", "0"], "at least 1"),
        (["--only", "x"], "no stage begins with 'x'"),
    ],
)
def test_what_cannot_be_measured_is_refused(compare, capsys, arguments, complaint):
    with pytest.raises(SystemExit) as ended:
        compare({"ours a": ""}, *arguments)
    assert ended.value.code == 2 and complaint in capsys.readouterr().err


def test_every_stage_is_a_script_that_is_there_and_takes_its_options(monkeypatch):
    import gpu_worker

    for stage in compare_gpu.STAGES:
        assert (compare_gpu.HERE / stage.script).is_file()
        if stage.script != "feeding.py":
            monkeypatch.setattr(sys, "argv", [stage.script, *stage.options])
            gpu_worker.parse("", ("nets", "kernels", "memory"), peer=stage.side == "peer")
    assert len({stage.name for stage in compare_gpu.STAGES}) == len(compare_gpu.STAGES)


# -------------------------------------------------------------------------------------------------------------- the tables

ABOUT = {
    "device": "a GPU",
    "cuda": "13.0",
    "driver": "580.1",
    "cupy": "14.2.0",
    "torch": "2.11.0",
    "cudnn": "91000",
    "commit": "abc",
    "date": "2030-01-02T03:04:05",
    "command": "benchmarks/compare_gpu.py",
    "size": 224,
    "batch": 16,
}


def net(side, mode, ms, **more):
    row = {"stage": "s", "side": side, "part": "net", "mode": mode, "work": "training", "batch": 64}
    return row | {"ms": ms, "images_s": 64 / ms * 1e3, "pool_gb": 20.04} | more


def kernel(side, mode, ms, name="unpool", operations=0):
    row = {"stage": "s", "side": side, "part": "kernel", "mode": mode, "name": name, "level": 1, "ms": ms}
    return row | {"batch": 16, "channels": 64, "size": 224, "bytes": 2 * 10**9, "operations": operations}


RESULT = {
    "about": ABOUT,
    "rows": [
        net("ours", "float32", 100, predicted_gb=18.5, arrays_gb=18.75, device_gb=21.0),
        net("ours", "graph float32", 80),
        net("peer", "eager float32", 250),
        net("peer", "compile float32", 200),
        net("peer", "eager tf32", 50),
        {"stage": "s", "side": "ours", "part": "limit", "name": "copy", "gb_s": 3000.0},
        {"stage": "s", "side": "peer", "part": "limit", "name": "copy", "gb_s": 4000.0},
        {"stage": "s", "side": "peer", "part": "limit", "name": "product float32", "tflop_s": 50.0},
        kernel("ours", "float32", 0.625),
        kernel("peer", "eager float32", 1.25),
        kernel("ours", "float32", 2.0, "deconvolution", operations=50 * 10**9),
        kernel("peer", "eager bfloat16", 1.0, "deconvolution", operations=50 * 10**9),
        {"stage": "feeding", "side": "ours", "part": "feeding", "workers": 8, "images_s": 1500.4, "processors": 16},
        *({"stage": "k", "side": "peer", "part": "kernel", "name": n, "level": 1, "error": "no"} for n in ("a", "b")),
        {"stage": "z", "side": "peer", "part": "stage", "error": "left out"},
    ],
}


def test_whole_nets_are_shown_beside_pytorchs_ways_and_the_ratio_is_to_the_fastest():
    shown = render_gpu.summary(RESULT)
    assert (
        "On a GPU, CUDA 13.0 (driver 580.1), CuPy 14.2.0, PyTorch 2.11.0, cuDNN 91000, commit abc, 2030-01-02, by"
        in shown
    )
    figures = "640/s, 20.0 GB | 800/s, 20.0 GB | 256/s, 20.0 GB |  | 320/s, 20.0 GB | 0.40"
    assert f"| training, batch 64 | float32 | {figures} |" in shown
    assert "| training, batch 64 | tf32 |  |  | 1280/s, 20.0 GB |  |  |  |" in shown


def test_memory_feeding_and_what_failed_are_shown():
    shown = render_gpu.summary(RESULT)
    assert "| training float32 | 64 | 18.50 GB | 18.75 GB | 1.014 | 21.00 GB |" in shown
    assert "on 16 processors, by threads: 1500 with 8; training takes up to 800." in shown
    assert "- k, a level 1 and 1 more: no\n- z: left out" in shown


def test_a_kernel_is_shown_with_its_share_of_the_best_copy_or_product():
    shown = render_gpu.kernels(RESULT)
    assert "copy 4000 GB/s, product float32 50.0 TFLOP/s" in shown
    assert "| unpool | 16x64x224x224 | float32 | 0.625 ms | 80% | 1.250 ms | 40% | 0.50 |" in shown
    assert "| deconvolution | 16x64x224x224 | float32 | 2.000 ms | 50% |  |  |  |" in shown
    assert "| deconvolution | 16x64x224x224 | bfloat16 |  |  | 1.000 ms |  |  |" in shown  # its limit was not measured


def test_an_empty_result_is_shown_without_tables():
    assert "|" not in render_gpu.summary({"about": ABOUT, "rows": []}) + render_gpu.kernels(
        {"about": ABOUT, "rows": []}
    )


def test_a_file_of_a_gpu_is_shown_in_both_pages_and_one_of_a_cpu_in_none(monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    for name, about in (("gpu.json", ABOUT), ("gpu_cpu.json", {"device": "CPU", "commit": "x"})):
        (tmp_path / "results" / name).write_text(json.dumps(RESULT | {"about": about}))
    for page in ("README", "PAGE"):
        monkeypatch.setattr(render_gpu, page, tmp_path / page)
        (tmp_path / page).write_text("before\n<!-- gpu table -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(render_gpu, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["render_gpu.py"])
    render_gpu.main()
    readme, page = ((tmp_path / name).read_text() for name in ("README", "PAGE"))
    assert readme.count("commit abc") == page.count("commit abc") == 1
    assert "training, batch 64" in readme and "| unpool |" in page
    assert readme.startswith("before\n") and page.endswith("\nafter\n")
