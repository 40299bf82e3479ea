"""brainenc import --ensemble: the results folder of the authors' program as it lies on disk, and what lies beside a checkpoint."""
import json
import os
import shutil

import numpy as np
import pytest

from support import (CASE, DATA, GOLDEN, MISSING, PICTURES, PREDICTION_TOLERANCE, SANITIZER, USAGE, edit_checkpoint, read_pth,
                     read_safetensors, rewrite_setting)

FOLDER = CASE / "algonauts/subj01"
RESULTS = GOLDEN / "ensemble/results"
MODEL = "nsd_test/dinov2_q_transformer/subj_01/rois_all"
MEMBERS = [(1, 1), (1, 2), (3, 1), (3, 2)]  # layer, run
CHECKPOINT = CASE / "subj01/rois_all/checkpoint.pth"


@pytest.fixture
def results(tmp_path):
    """A copy of the golden results, to be changed."""
    return shutil.copytree(RESULTS, tmp_path / "results")


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "subject.safetensors"


@pytest.fixture(scope="module")
def ensemble(tool, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "subj01.safetensors"
    tool.run("import", "--ensemble", RESULTS, "--data", FOLDER, "-o", path)
    return path


def import_results(tool, folder, output, *options, **how):
    return tool.run("import", "--ensemble", folder, "--data", FOLDER, "-o", output, *options, **how)


def refuse(tool, code, folder, output, *options):
    """The sentence of an import that must fail, and leave what was there as it was and nothing else."""
    output.write_bytes(b"an older file")
    sentence = tool.refuses(code, "import", "--ensemble", folder, "--data", FOLDER, "-o", output, *options)
    assert output.read_bytes() == b"an older file" and list(output.parent.iterdir()) == [output]
    return sentence


def about(path):
    return json.loads(read_safetensors(path)[1]["brainenc"])


def places(path):
    return [(member["layer"], member["run"]) for member in about(path)["members"]]


# --- what is written ----------------------------------------------------------------------------


def test_its_prediction_is_the_published_programs(tool, ensemble, tmp_path):
    """Over the mean of runs, which the published program forgets to take."""
    tool.run("predict", PICTURES / "a_425.png", PICTURES / "b_425.png", "--backbone", CASE / "dinov2_small.safetensors",
             "--subject", ensemble, "-o", tmp_path / "found.npy")
    want = [np.load(GOLDEN / f"ensemble/expected/{h}_pred_mean_over_runs.npy") for h in ("lh", "rh")]
    assert np.abs(np.load(tmp_path / "found.npy") - np.concatenate(want, axis=1)).max() <= PREDICTION_TOLERANCE


def test_members_are_in_the_order_of_layers_and_runs(ensemble):
    tensors, _ = read_safetensors(ensemble)
    assert places(ensemble) == MEMBERS
    for m, (layer, run) in enumerate(MEMBERS):
        folder = RESULTS / MODEL / f"enc_{layer}/run_{run}"
        model = read_pth(folder / "checkpoint.pth")["model"]
        for name in ("lh_embed.0.weight", "query_embed.weight", "transformer.decoder.layers.0.multihead_attn.in_proj_weight"):
            assert np.array_equal(tensors[f"members.{m}.{name}"], model[name])
        for h in ("lh", "rh"):
            assert np.array_equal(tensors[f"validation.{h}"][m], np.load(folder / f"{h}_val_corr.npy").astype(np.float32))


def test_import_and_inspect_tell_layers_and_runs(tool, ensemble, output):
    assert "layers 1, 3 (4 members, 2 runs)" in import_results(tool, RESULTS, output).out.decode()
    told = tool.run("inspect", ensemble, "--json").json()
    assert "layers 1, 3 (4 members, 2 runs)" in told["features"] and told["storage"] == "f32"
    left = [np.load(RESULTS / MODEL / f"enc_{layer}/run_{run}/lh_val_corr.npy") for layer, run in MEMBERS]
    layers = np.array([left[0] + left[1], left[2] + left[3]]) / 2
    weights = np.exp(40 * layers) / np.exp(40 * layers).sum(axis=0)
    assert f"{(weights * layers).sum(axis=0).mean():.4f} mean validation correlation (estimated" in told["lh quality"]


@pytest.mark.parametrize("level", ["nsd_test", "nsd_test/dinov2_q_transformer", "nsd_test/dinov2_q_transformer/subj_01", MODEL])
def test_any_level_of_the_results_will_do(tool, ensemble, output, level):
    import_results(tool, RESULTS / level, output)
    assert output.read_bytes() == ensemble.read_bytes()


def test_a_correlation_that_is_none_counts_as_0(tool, results, output, tmp_path):
    path = results / MODEL / "enc_1/run_1/lh_val_corr.npy"
    scores = np.load(path)
    scores[5] = np.nan
    np.save(path, scores)
    import_results(tool, results, output)
    tool.run("predict", PICTURES / "a_425.png", "--backbone", CASE / "dinov2_small.safetensors", "--subject", output, "-o",
             tmp_path / "found.npy")
    each = np.load(GOLDEN / "ensemble/expected/lh_pred_each.npy")[:, 0, 5]  # by run, then layer
    scores = {place: np.nan_to_num(np.load(results / MODEL / "enc_{}/run_{}/lh_val_corr.npy".format(*place))[5])
              for place in MEMBERS}
    weights = np.exp([20 * (scores[layer, 1] + scores[layer, 2]) for layer in (1, 3)])
    weights /= weights.sum()
    want = (weights[0] * (each[0] + each[2]) + weights[1] * (each[1] + each[3])) / 2
    assert abs(np.load(tmp_path / "found.npy")[0, 5] - want) <= PREDICTION_TOLERANCE


def test_the_training_set_and_the_days_are_told(tool, results, output):
    """90 % of the shuffled images were trained on; the program leaves their order in idxs.npy."""
    for layer, run in MEMBERS:
        folder = results / MODEL / f"enc_{layer}/run_{run}"
        np.save(folder / "idxs.npy", np.random.default_rng(run).permutation(9841))
        os.utime(folder / "checkpoint.pth", (0, 86400 * (365 * layer + run) + 5))
    import_results(tool, results, output)
    assert about(output)["training_set"] == "NSD (Algonauts 2023), subj01: 8857 images, and 984 to validate on"
    assert [member["checkpoint_date"] for member in about(output)["members"]] == ["1971-01-02", "1971-01-03", "1973-01-01",
                                                                                  "1973-01-02"]
    told = tool.run("inspect", output, "--json").json()
    assert told["trained on"] == about(output)["training_set"] and "1973-01-02" in told["checkpoint"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"nothing"), lambda path: np.save(path, np.zeros((3, 4))),
                                    lambda path: np.save(path, np.arange(500))])
def test_a_training_set_that_cannot_be_counted_is_not_guessed(tool, results, output, damage):
    for layer, run in MEMBERS:
        np.save(results / MODEL / f"enc_{layer}/run_{run}/idxs.npy", np.arange(9841))
    damage(results / MODEL / "enc_3/run_2/idxs.npy")
    import_results(tool, results, output)
    assert about(output)["training_set"] == "NSD (Algonauts 2023), subj01"


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer takes memory of its own")
def test_an_ensemble_takes_the_memory_of_one_member(tool, tmp_path):
    """Six members of 16 MB each: importing and inspecting them takes less than one of them more than importing the first alone."""
    vertices, members, random = 20000, 6, np.random.default_rng(1)
    masks = shutil.copytree(FOLDER, tmp_path / "subj01") / "roi_masks"
    for path in masks.glob("?h.*_space.npy"):
        np.save(path, np.arange(163842) < vertices if "all-vertices" in path.name else np.zeros(vertices, np.int32))

    def widen(model):
        for h in ("lh", "rh"):
            model[f"{h}_embed.0.weight"] = random.standard_normal((vertices, 96)).astype(np.float32)
            model[f"{h}_embed.0.bias"] = np.zeros(vertices, np.float32)
    for run in range(1, members + 1):
        folder = tmp_path / f"results/enc_1/run_{run}"
        folder.mkdir(parents=True)
        edit_checkpoint(CHECKPOINT, folder / "checkpoint.pth", {"run": run}, widen)
        for h in ("lh", "rh"):
            np.save(folder / f"{h}_val_corr.npy", np.zeros(vertices))
    member = os.path.getsize(folder / "checkpoint.pth")

    options = ["--data", masks.parent, "-o", tmp_path / "all.safetensors"]
    alone = tool.peak("import", tmp_path / "results/enc_1/run_1/checkpoint.pth", "--data", masks.parent, "-o",
                      tmp_path / "one.safetensors")
    assert tool.peak("import", "--ensemble", tmp_path / "results", *options) < alone + member
    assert tool.peak("import", "--ensemble", tmp_path / "results", *options, "--storage", "bf16") < alone + member
    assert tool.peak("inspect", tmp_path / "all.safetensors") < alone + member


# --- which model --------------------------------------------------------------------------------


def test_of_several_subjects_the_one_of_the_data_is_taken(tool, results, ensemble, output):
    other = results / "nsd_test/dinov2_q_transformer/subj_02/rois_all/enc_1/run_1"
    other.mkdir(parents=True)
    (other / "checkpoint.pth").write_bytes(b"of another subject")
    import_results(tool, results, output)
    assert output.read_bytes() == ensemble.read_bytes()


def test_several_models_of_the_subject_are_listed(tool, results, ensemble, output):
    shutil.copytree(results / MODEL, results / MODEL.replace("transformer", "linear"))
    sentence = refuse(tool, USAGE, results, output)
    assert MODEL in sentence and MODEL.replace("transformer", "linear") in sentence and "name the folder of one" in sentence
    import_results(tool, results / MODEL, output)
    assert output.read_bytes() == ensemble.read_bytes()


def test_a_folder_without_results_is_refused(tool, tmp_path, output):
    assert "holds no results" in refuse(tool, MISSING, FOLDER, output)
    assert str(tmp_path / "nowhere") in refuse(tool, MISSING, tmp_path / "nowhere", output)


def test_the_command_line_names_one_source(tool, output):
    for arguments in (["--ensemble", RESULTS, CHECKPOINT], [CHECKPOINT, CHECKPOINT], [CHECKPOINT, "--skip-incomplete"]):
        tool.refuses(USAGE, "import", *arguments, "--data", FOLDER, "-o", output)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint.pth", "lh_val_corr.npy", "rh_val_corr.npy"])
def test_an_incomplete_run_is_refused_or_left_out(tool, results, output, name):
    (results / MODEL / f"enc_3/run_2/{name}").unlink()
    sentence = refuse(tool, MISSING, results, output)
    assert f"enc_3/run_2/{name}" in sentence and "--skip-incomplete" in sentence
    result = import_results(tool, results, output, "--skip-incomplete")
    assert len(result.lines) == 1 and f"enc_3/run_2/{name}" in result.lines[0] and "left out" in result.lines[0]
    assert places(output) == MEMBERS[:3]


@pytest.mark.parametrize("before, after, words", [
    ("enc_3", "enc_2", ("enc_2/run_1/checkpoint.pth", "args.enc_output_layer is 3")),
    ("enc_3/run_2", "enc_3/run_7", ("enc_3/run_7/checkpoint.pth", "args.run is 2")),
])
def test_names_that_contradict_the_checkpoint_are_refused(tool, results, output, before, after, words):
    (results / MODEL / before).rename(results / MODEL / after)
    sentence = refuse(tool, DATA, results, output)
    assert all(word in sentence for word in words)


def test_members_of_another_model_are_refused(tool, results, output):
    path = results / MODEL / "enc_3/run_1/checkpoint.pth"
    shutil.copy(GOLDEN / "variants/dinov2_enc3_patched/checkpoint.pth", path)
    sentence = refuse(tool, DATA, results, output)
    assert "enc_3/run_1/checkpoint.pth" in sentence and "backbone_arch" in sentence
    shutil.copy(GOLDEN / "ensemble/results" / MODEL / "enc_3/run_1/checkpoint.pth", path)
    rewrite_setting(RESULTS / MODEL / "enc_3/run_1/checkpoint.pth", path, "01", "08")
    assert "enc_3/run_1/checkpoint.pth: its subj is not that of" in refuse(tool, DATA, results, output)


@pytest.mark.parametrize("name, scores", [("lh_val_corr.npy", np.zeros(299)), ("rh_val_corr.npy", np.zeros((2, 160, 1)))])
def test_correlations_of_another_length_are_refused(tool, results, output, name, scores):
    np.save(results / MODEL / "enc_1/run_2" / name, scores)
    assert f"enc_1/run_2/{name}" in refuse(tool, DATA, results, output)


def test_a_damaged_member_is_refused(tool, results, output):
    path = results / MODEL / "enc_3/run_2/checkpoint.pth"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "enc_3/run_2/checkpoint.pth" in refuse(tool, DATA, results, output)


# --- beside a single checkpoint -----------------------------------------------------------------


@pytest.fixture
def alone(tmp_path):
    """A checkpoint in a folder of its own."""
    (tmp_path / "run").mkdir()
    return shutil.copy(CHECKPOINT, tmp_path / "run/checkpoint.pth")


def test_scores_beside_a_checkpoint_are_taken_in(tool, alone, output):
    scores = {"lh": np.linspace(-0.2, 0.8, 300), "rh": np.linspace(0, 0.6, 320)}
    for h, values in scores.items():
        np.save(alone.parent / f"{h}_val_corr.npy", values)
    tool.run("import", alone, "--data", FOLDER, "-o", output)
    tensors, _ = read_safetensors(output)
    for h, values in scores.items():
        assert np.array_equal(tensors[f"validation.{h}"], values[None].astype(np.float32))
    assert tool.run("inspect", output, "--json").json()["lh quality"] == "0.3000 mean validation correlation"


def test_scores_beside_a_checkpoint_that_do_not_fit_are_refused(tool, alone, output):
    np.save(alone.parent / "lh_val_corr.npy", np.zeros(5))
    assert "lh_val_corr.npy: has 5 numbers" in tool.refuses(DATA, "import", alone, "--data", FOLDER, "-o", output)


def test_a_checkpoint_alone_is_imported_as_before(tool, alone, subject, output):
    os.utime(alone, (os.stat(CHECKPOINT).st_mtime,) * 2)
    tool.run("import", alone, "--data", FOLDER, "-o", output)
    assert output.read_bytes() == subject.read_bytes()
