"""The published model in PyTorch, for what `brainenc demo` writes: DINOv2's queries of the last block, one decoder layer,
ROI readout. Written from the arithmetic of the model alone. What depends on no picture is computed when it is loaded, and only
what the answer needs is computed at all, so that it does no more work than brainenc does.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

PATCH, BACKBONE_HEAD_WIDTH, ENCODER_HEADS = 14, 64, 16
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FAMILIES = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words")


def pixels(rgb):
    """[1][3][height][width], normalised and padded to whole patches, of [height][width][3] bytes."""
    values = (rgb.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    down, right = -rgb.shape[0] % PATCH, -rgb.shape[1] % PATCH
    return torch.from_numpy(np.pad(values, ((0, down), (0, right), (0, 0))).transpose(2, 0, 1)[None].copy())


def position_table(table, rows, columns):
    """[1][1 + rows * columns][C]: the class token's, then the grid's, resampled with the scale the training program gave."""
    side = math.isqrt(table.shape[1] - 1)
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    assert grid.shape[-2:] == (rows, columns)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def sine_positions(rows, columns, width):
    """[rows * columns][width]: the first half of the channels from the row, the second from the column."""
    k = torch.arange(width // 2)
    frequencies = 10000.0 ** (2 * torch.div(k, 2, rounding_mode="floor") / (width // 2))

    def code(count):
        angles = (torch.arange(count) + 1)[:, None] / (count + 1e-6) * 2 * math.pi / frequencies
        return torch.where(k % 2 == 0, angles.sin(), angles.cos())
    y, x = code(rows), code(columns)
    return torch.cat([y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], dim=2).reshape(rows * columns, width)


def roi_masks(folder, side):
    """[ROIs, the last for the vertices of none][vertices] of a hemisphere, 0 or 1."""
    masks = []
    for family in FAMILIES:
        labels = np.load(folder / f"{side}.{family}_challenge_space.npy")
        names = np.load(folder / f"mapping_{family}.npy", allow_pickle=True).item()
        masks += [labels == label for label in sorted(names) if label != 0]
    masks = np.array(masks)
    return torch.from_numpy(np.vstack([masks, ~masks.any(axis=0)]).astype(np.float32))


def heads_apart(x, heads):
    """[tokens][C] -> [heads][tokens][C / heads]."""
    return x.reshape(x.shape[0], heads, -1).transpose(0, 1)


def attend(q, k, v, heads):
    """[queries][C] from q, and k and v of the tokens."""
    q, k, v = (heads_apart(x, heads) for x in (q, k, v))
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
    return (weights @ v).transpose(0, 1).flatten(1)


class Weights:
    """Tensors by name, in one precision."""

    def __init__(self, tensors, dtype):
        self.tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}

    def __getitem__(self, name):
        return self.tensors[name]

    def linear(self, name, x):
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def norm(self, name, x, epsilon):
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], epsilon)


class Backbone:
    """The queries of the last block."""

    def __init__(self, path, rows, columns, dtype):
        tensors = torch.load(path, map_location="cpu")
        self.weights = Weights(tensors, dtype)
        self.positions = position_table(tensors["pos_embed"], rows, columns)[0].to(dtype)
        self.heads = tensors["pos_embed"].shape[-1] // BACKBONE_HEAD_WIDTH
        self.depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))

    def block(self, name, x):
        weights = self.weights
        q, k, v = weights.linear(f"{name}.attn.qkv", weights.norm(f"{name}.norm1", x, 1e-6)).chunk(3, dim=1)
        x = x + weights.linear(f"{name}.attn.proj", attend(q, k, v, self.heads)) * weights[f"{name}.ls1.gamma"]
        hidden = F.gelu(weights.linear(f"{name}.mlp.fc1", weights.norm(f"{name}.norm2", x, 1e-6)))
        return x + weights.linear(f"{name}.mlp.fc2", hidden) * weights[f"{name}.ls2.gamma"]

    def __call__(self, image):
        weights = self.weights
        patches = F.conv2d(image, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=PATCH)
        x = torch.cat([weights["cls_token"][0], patches[0].flatten(1).T]) + self.positions
        for number in range(self.depth - 1):
            x = self.block(f"blocks.{number}", x)
        last, width = f"blocks.{self.depth - 1}", x.shape[1]
        x = weights.norm(f"{last}.norm1", x[1:], 1e-6)
        return F.linear(x, weights[f"{last}.attn.qkv.weight"][:width], weights[f"{last}.attn.qkv.bias"][:width])


class Encoder:
    """Features to the responses of all vertices, left ones first."""

    LAYER = "transformer.decoder.layers.0"

    def __init__(self, checkpoint, masks_folder, rows, columns, dtype):
        tensors = torch.load(checkpoint, map_location="cpu")["model"]
        width = tensors["query_embed.weight"].shape[1]
        parts = zip("qkv", tensors[f"{self.LAYER}.multihead_attn.in_proj_weight"].chunk(3),
                    tensors[f"{self.LAYER}.multihead_attn.in_proj_bias"].chunk(3))
        for name, weight, bias in parts:
            tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
        self.weights = Weights(tensors, dtype)
        self.positions = sine_positions(rows, columns, width).to(dtype)
        embedding = tensors["query_embed.weight"] + tensors[f"{self.LAYER}.norm1.bias"]  # LN1 of the state, which is zero
        self.query = F.linear(embedding, tensors["q.weight"], tensors["q.bias"]).to(dtype)
        self.masks = [roi_masks(masks_folder, side).to(dtype) for side in ("lh", "rh")]

    def read_out(self, name, tokens, masks):
        return (self.weights.linear(name, tokens) * masks).sum(dim=0)

    def __call__(self, memory):
        weights = self.weights
        pooled = attend(self.query, weights.linear("k", memory + self.positions), weights.linear("v", memory), ENCODER_HEADS)
        t = weights.linear(f"{self.LAYER}.multihead_attn.out_proj", pooled)
        hidden = torch.relu(weights.linear(f"{self.LAYER}.linear1", weights.norm(f"{self.LAYER}.norm3", t, 1e-5)))
        t = weights.norm("transformer.decoder.norm", t + weights.linear(f"{self.LAYER}.linear2", hidden), 1e-5)
        left = len(self.masks[0])
        return torch.cat([self.read_out("lh_embed.0", t[:left], self.masks[0]),
                          self.read_out("rh_embed.0", t[left:], self.masks[1])])


class Model:
    """Of a demo's folder; for pictures of one shape."""

    def __init__(self, folder, image, precision):
        rows, columns = (size // PATCH for size in image.shape[-2:])
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        backbone = next(folder.glob("dinov2_*_pretrain.pth"))
        self.backbone = Backbone(backbone, rows, columns, self.dtype)
        self.encoder = Encoder(folder / "checkpoint.pth", folder / "algonauts/subj01/roi_masks", rows, columns, self.dtype)

    def __call__(self, image):
        return self.encoder(self.backbone(image.to(self.dtype))).float()
