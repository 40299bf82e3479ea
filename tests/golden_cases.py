"""Every variant of the published system that has a golden case: what to import, with which backbone, and the tolerances."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
MAIN = GOLDEN / "dinov2_q_rois"
SUBJ01, TINY = MAIN / "algonauts/subj01", GOLDEN / "variants/algonauts_tiny/subj02"
LARGE = (MAIN / "images/a_425.png", MAIN / "images/b_425.png")
SMALL = (GOLDEN / "clip/images/e_224.png", GOLDEN / "clip/images/f_224.png")

# As the daemon's configuration has them; `backbone_options` says the same on the tool's command line.
BACKBONES = {
    "dinov2": {"weights": str(MAIN / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12},
    "tiny12": {"weights": str(GOLDEN / "dinov2_depth12/dinov2_tiny12_pretrain.pth"), "kind": "dinov2", "heads": 12},
    "clip": {"weights": str(GOLDEN / "clip/open_clip_narrow.pth"), "kind": "clip"},
    "clip_gelu": {"weights": str(GOLDEN / "clip/open_clip_narrow.pth"), "kind": "clip", "activation": "gelu"},
    "resnet18": {"weights": str(GOLDEN / "resnet/resnet18_narrow.pth"), "kind": "resnet"},
    "resnet50": {"weights": str(GOLDEN / "resnet/resnet50_narrow.pth"), "kind": "resnet"},
    "resnet50_dilated": {"weights": str(GOLDEN / "resnet/resnet50_narrow.pth"), "kind": "resnet"},  # a pass of its own
}


def backbone_options(name):
    about = BACKBONES[name]
    return ["--backbone", about["weights"]] + [it for key in ("heads", "activation") if key in about
                                               for it in (f"--backbone-{key}", about[key])]


@dataclass(frozen=True)
class Case:
    name: str
    folder: Path
    backbone: str = "dinov2"
    pictures: tuple = LARGE
    options: tuple = ()  # of import
    data: Path = SUBJ01
    checkpoint: str = "checkpoint.pth"  # "": the options say what
    suffix: str = ""
    tolerance: float = 2e-5
    maps: str = "attention"
    map_tolerance: float = 2e-6

    def predictions(self):
        """[images][V_lh + V_rh]"""
        return np.concatenate([np.load(self.folder / f"expected/{side}_pred{self.suffix}.npy") for side in ("lh", "rh")], axis=1)

    def maps_file(self):
        """Of the published program's maps: [images][queries][tokens], every third query or all. It need not be there."""
        return self.folder / f"expected/{self.maps}{self.suffix}.npy"

    def import_arguments(self, output):
        checkpoint = [self.folder / self.checkpoint] if self.checkpoint else []
        return ["import", *checkpoint, "--data", self.data, *self.options, "-o", output]


def variant(name, **more):
    return Case(name, GOLDEN / "variants" / name, **more)


def other(path, backbone, pictures=SMALL, **more):
    return Case(path.replace("/", "-") + more.get("suffix", ""), GOLDEN / path, backbone, pictures, **more)


GELU = {"backbone": "clip_gelu", "suffix": "_plain_gelu"}
CASES = [
    variant("dinov2q_enc3"), variant("dinov2_enc1_patched"), variant("dinov2_enc3_patched"), variant("enc_layers2"),
    variant("enc_layers1_enc0"), variant("dec_layers2", maps="attention_layer1"), variant("pre_norm0"),
    variant("pos_learned", checkpoint="checkpoint_with_position_table.pth"),
    variant("custom_rois", tolerance=4e-5, map_tolerance=5e-6), variant("spatial_rois"), variant("spatial_voxels", data=TINY),
    variant("linear_q", data=TINY), variant("linear_q_cls"), variant("voxels"),
    variant("linear_dinov2_cls_patched", options=("--class-token", "first-patch")),
    Case("dinov2_cls-the-class-token", GOLDEN / "variants/linear_dinov2_cls_patched", options=("--class-token", "class-token"),
         suffix="_true_cls"),
    variant("hemis_patched"), variant("streams_inc_patched", options=("--streams-order", "rest-last")),
    other("dinov2_depth12/dinov2q_enc7", "tiny12", LARGE), other("dinov2_depth12/dinov2_enc1_patched", "tiny12", LARGE),
    other("dinov2_depth12/dinov2_enc7_patched", "tiny12", LARGE),
    other("clip/transformer_rois", "clip"), other("clip/spatial_rois", "clip"), other("clip/linear_cls", "clip"),
    other("clip/transformer_rois", **GELU), other("clip/spatial_rois", **GELU), other("clip/linear_cls", **GELU),
    other("resnet/resnet18", "resnet18", tolerance=4e-5, map_tolerance=3e-6),
    other("resnet/resnet50", "resnet50", tolerance=4e-4, map_tolerance=3e-5),
    Case("ensemble", GOLDEN / "ensemble", options=("--ensemble", GOLDEN / "ensemble/results"), checkpoint="",
         suffix="_mean_over_runs"),
    other("resnet/resnet50_dilation", "resnet50_dilated", tolerance=4e-4, map_tolerance=3e-5),
]
WITH_MAPS = [case for case in CASES if case.maps_file().exists() and "voxels" not in case.name]  # whose maps are of vertices
