"""brainenc demo: a model of random numbers, in the formats the real ones have."""
import json
from pathlib import Path

import numpy as np
import pytest

from support import DATA, DONE, SYSTEM, USAGE, decode_png, read_pth, read_rois, read_safetensors, write_safetensors

VERTICES = {"lh": 1000, "rh": 1100}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tool, demo, tmp_path):
    tool.run("demo", "-o", tmp_path / "again", "--seed", "1")
    assert contents(tmp_path / "again") == contents(demo)


def test_another_seed_gives_another_model(tool, demo, tmp_path):
    tool.run("demo", "-o", tmp_path / "other", "--seed", "2")
    first, second = contents(demo), contents(tmp_path / "other")
    assert set(first) == set(second)
    drawn = [path for path in first if path.suffix in (".pth", ".safetensors") or path.name.endswith("_space.npy")]
    assert len(drawn) == 17 and not [path for path in drawn if first[path] == second[path]]


def test_it_says_what_it_wrote_and_that_it_means_nothing(tool, tmp_path):
    folder = tmp_path / "demo"
    lines = tool.run("demo", "-o", folder).out.decode().splitlines()
    names = ["dinov2_demo_pretrain.pth", "checkpoint.pth", "algonauts/subj01", "subj01.safetensors", "picture.png",
             "brainencd.yaml"]
    assert lines[:-1] == [str(folder / name) for name in names]
    assert "means nothing" in lines[-1]
    tool.run("demo", "-o", folder)  # into a folder that is there already


def test_its_folder_has_the_layout_of_algonauts(demo):
    rois = read_rois(demo / "algonauts/subj01")
    assert [name for name, _, _ in rois] == [
        "V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "EBA", "FBA-1", "FBA-2", "mTL-bodies", "OFA", "FFA-1", "FFA-2",
        "mTL-faces", "aTL-faces", "OPA", "PPA", "RSC", "OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words", "rest"]
    for name, _, masks in rois:
        for h in ("lh", "rh"):
            assert masks[h].shape == (VERTICES[h],)
            assert masks[h].any() == ((name, h) != ("mTL-faces", "rh")), (name, h)
    assert sum(masks["lh"].astype(int) for _, _, masks in rois).max() > 1  # families overlap
    for h in ("lh", "rh"):
        surface = np.load(demo / f"algonauts/subj01/roi_masks/{h}.all-vertices_fsaverage_space.npy")
        assert surface.shape == (163842,) and surface.sum() == VERTICES[h] and surface.max() == 1


def test_its_backbone_is_a_torch_file_with_metas_names(demo):
    weights = read_pth(demo / "dinov2_demo_pretrain.pth")
    assert weights["pos_embed"].shape == (1, 1 + 37 * 37, 128)
    assert weights["patch_embed.proj.weight"].shape == (128, 3, 14, 14)
    assert weights["blocks.3.attn.qkv.weight"].shape == (384, 128) and "blocks.4.norm1.weight" not in weights
    assert all(np.isfinite(value).all() and value.std() > 0 for value in weights.values())


def test_its_checkpoint_is_as_the_training_program_saves_it(demo):
    checkpoint = read_pth(demo / "checkpoint.pth")
    model, args = checkpoint["model"], vars(checkpoint["args"])
    assert (args["backbone_arch"], args["encoder_arch"], args["readout_res"]) == ("dinov2_q", "transformer", "rois_all")
    assert (args["num_queries"], args["image_size"], args["lh_vs"], args["rh_vs"]) == (50, None, 1000, 1100)
    assert model["query_embed.weight"].shape == (50, 128)
    assert model["lh_embed.0.weight"].shape == (1000, 128) and model["rh_embed.0.bias"].shape == (1100,)
    assert model["transformer.decoder.layers.0.multihead_attn.in_proj_weight"].shape == (384, 128)


def test_its_subject_is_the_import_of_its_checkpoint(tool, demo, tmp_path):
    output = tmp_path / "subject.safetensors"
    tool.run("import", demo / "checkpoint.pth", "--data", demo / "algonauts/subj01", "-o", output)
    (got, got_about), (want, want_about) = read_safetensors(output), read_safetensors(demo / "subj01.safetensors")
    assert set(got) == set(want) and all(np.array_equal(got[name], want[name]) for name in want)
    assert json.loads(want_about["brainenc"])["demo"] is True and got_about == want_about


def test_an_import_of_its_ensemble_is_still_a_demo(tool, tmp_path):
    folder, output = tmp_path / "demo", tmp_path / "subject.safetensors"
    tool.run("demo", "-o", folder, "--layers", "1,3")
    tool.run("import", "--ensemble", folder / "results", "--data", folder / "algonauts/subj01", "-o", output)
    answer = tool.run("predict", folder / "picture.png", "--backbone", folder / "dinov2_demo_pretrain.pth", "--subject", output,
                      "--output", "rois", "--json").json()
    assert answer["predictions"][0]["demo"] is True


def test_its_picture_is_one(demo):
    picture = decode_png((demo / "picture.png").read_bytes())
    assert picture.shape == (425, 425, 3) and picture.std() > 20


def test_wrong_command_lines_are_refused(tool, tmp_path):
    tool.refuses(USAGE, "demo")
    tool.refuses(USAGE, "demo", tmp_path)
    assert "--seed" in tool.refuses(USAGE, "demo", "-o", tmp_path / "demo", "--seed", "one")


@pytest.mark.parametrize("name", ["nowhere/demo", "file"])
def test_a_folder_that_cannot_be_made_is_named(tool, tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    assert str(tmp_path / name) in tool.refuses(SYSTEM, "demo", "-o", tmp_path / name)


def test_a_real_model_is_not_written_over(tool, tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"years of work")
    result = tool.run("demo", "-o", tmp_path, code=2)
    assert "not from a demo" in result.err
    assert (tmp_path / "checkpoint.pth").read_bytes() == b"years of work"


def test_an_older_demo_is_replaced(tool, tmp_path):
    tool.run("demo", "-o", tmp_path)
    first = (tmp_path / "checkpoint.pth").read_bytes()
    tool.run("demo", "-o", tmp_path, "--seed", "5")
    assert (tmp_path / "checkpoint.pth").read_bytes() != first


def test_the_daemon_takes_the_configuration(tool, tmp_path):
    tool.run("demo", "-o", tmp_path)
    text = (tmp_path / "brainencd.yaml").read_text()
    assert "weights: dinov2_demo_pretrain.pth" in text and "weights: subj01.safetensors" in text


def test_a_demo_of_an_older_format_is_replaced(tool, tmp_path):
    tool.run("demo", "-o", tmp_path)
    path = tmp_path / "subj01.safetensors"
    tensors, metadata = read_safetensors(path)
    about = json.loads(metadata["brainenc"])
    for is_demo, code in ((False, USAGE), (True, DONE)):
        write_safetensors(path, tensors, metadata | {"brainenc": json.dumps(about | {"format": 1, "demo": is_demo})})
        tool.run("inspect", path, code=DATA)
        tool.run("demo", "-o", tmp_path, code=code)
    tool.run("inspect", path)


def test_a_checkpoint_is_not_imported_onto_itself(tool, demo, tmp_path):
    path, before = tmp_path / "checkpoint.safetensors", (demo / "checkpoint.pth").read_bytes()
    path.write_bytes(before)
    result = tool.run("import", path, "--data", demo / "algonauts/subj01", "-o", path, code=USAGE)
    assert "is the checkpoint itself" in result.err and path.read_bytes() == before


# --- ensembles and other readouts ---------------------------------------------------------------


def facts(folder):
    tensors, metadata = read_safetensors(folder / "subj01.safetensors")
    return tensors, json.loads(metadata["brainenc"])


def test_an_ensemble_is_the_authors_results_tree(tool, tmp_path):
    folder = tmp_path / "demo"
    tool.run("demo", "-o", folder, "--layers", "1,3", "--runs", "2")
    tensors, about = facts(folder)
    assert [(member["layer"], member["run"]) for member in about["members"]] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    tree = folder / "results/nsd_test/dinov2_q_transformer/subj_01/rois_all"
    for number, (layer, run) in enumerate([(1, 1), (1, 2), (3, 1), (3, 2)]):
        for hemisphere in ("lh", "rh"):
            saved = np.load(tree / f"enc_{layer}/run_{run}/{hemisphere}_val_corr.npy")
            assert np.array_equal(tensors[f"validation.{hemisphere}"][number], saved.astype(np.float32))
    first, second = (tensors[f"members.{m}.query_embed.weight"] for m in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("options, written", [
    ([], "checkpoint.pth"), (["--layers", "3"], "checkpoint.pth"), (["--runs", "1"], "checkpoint.pth"),
    (["--layers", "3", "--runs", "2"], "results"), (["--runs", "2"], "results"), (["--layers", "1,3"], "results"),
])
def test_what_is_written_is_what_the_help_says(tool, tmp_path, options, written):
    told = tool.run("demo", "-o", tmp_path / "demo", *options).out.decode().splitlines()
    assert {name for name in ("checkpoint.pth", "results") if (tmp_path / "demo" / name).exists()} == {written}
    assert f"{tmp_path}/demo/{written}" in told and all(Path(path).exists() for path in told[:-1])
    layer = facts(tmp_path / "demo")[1]["members"][0]["layer"]
    assert layer == (3 if "3" in options else 1)
    said = " ".join(tool.run("demo", "--help").out.decode().split())
    assert "More than one model in all is an ensemble: results/ in the place of checkpoint.pth" in said
    assert said.count("an ensemble") == 1  # no option is said to make one by itself


def test_vertices_of_each_hemisphere(tool, tmp_path):
    for number in (100, 2345):
        tool.run("demo", "--vertices", number, "-o", tmp_path / "demo")
        tensors, _ = read_safetensors(tmp_path / "demo/subj01.safetensors")
        assert [tensors[f"members.0.{side}_embed.0.weight"].shape for side in ("lh", "rh")] == [(number, 128)] * 2
        masks = tmp_path / "demo/algonauts/subj01/roi_masks"
        assert len(np.load(masks / "rh.floc-faces_challenge_space.npy")) == np.load(
            masks / "rh.all-vertices_fsaverage_space.npy").sum() == number


def test_a_query_for_each_vertex(tool, tmp_path):
    folder = tmp_path / "demo"
    tool.run("demo", "-o", folder, "--readout", "voxels")
    tensors, about = facts(folder)
    assert about["readout"] == "voxels" and len(tensors["members.0.query_embed.weight"]) == 1000 + 1100


@pytest.mark.parametrize("options, named", [
    (["--readout", "hemis"], "--readout"), (["--layers", "3,1"], "--layers"), (["--layers", "1,,3"], "layers"),
    (["--layers", "1,5"], "--layers"), (["--runs", "0"], "runs"), (["--layers", ""], "layers"),
    (["--vertices", "99"], "--vertices"), (["--vertices", "163843"], "--vertices"),
])
def test_what_a_demo_cannot_be(tool, tmp_path, options, named):
    assert named in tool.refuses(USAGE, "demo", "-o", tmp_path / "demo", *options)
    assert not (tmp_path / "demo").exists()
