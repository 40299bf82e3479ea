"""What `brainenc bench` prints: times, and the operations that the products of every model take."""
import pytest

from golden_cases import CASES, LARGE, backbone_options
from support import MISSING, USAGE


def test_it_measures_a_demo(tool, demo):
    text = tool.run("bench", "--demo", demo, "--rounds", "1").out.decode()
    assert "bare products" in text and "ratio" in text
    answer = tool.run("bench", "--demo", demo, "--rounds", "1", "--json", "--threads", "1", "--against", demo).json()
    assert answer["one"]["against_ratio"] == pytest.approx(answer["one"]["whole_ms"] / answer["one"]["against_ms"], rel=0.01)
    assert (answer["threads"], answer["rounds"], answer["grid"], answer["picture"]) == (1, 1, [31, 31], [425, 425])
    assert (answer["vertices"], answer["members"], answer["subjects"]) == ([1000, 1100], 1, 1)
    for part in (answer["one"], answer["stream"]):
        assert part["bare_ms"] > 0 and part["ratio"] > 0


def test_it_tells_the_fastest_and_the_slowest_round(tool, demo):
    answer = tool.run("bench", "--demo", demo, "--rounds", "4", "--json", "--threads", "1", "--against", demo).json()
    one, stream = answer["one"], answer["stream"]
    measured = [(row, "ms") for row in answer["rows"] if row["name"] != "load"]
    measured += [(part, key) for part, keys in ((one, ["whole_ms", "bare_ms", "ratio", "against_ms", "against_ratio"]),
                                                (stream, ["image_ms", "bare_ms", "ratio"])) for key in keys]
    for part, key in measured:
        assert 0 <= part[f"{key}_least"] <= part[key] <= part[f"{key}_most"], (part, key)
    assert one["whole_ms_least"] < one["whole_ms_most"] and "ms_least" not in answer["rows"][0]
    for part, ratio, above, below in ((one, "ratio", "whole_ms", "bare_ms"), (one, "against_ratio", "whole_ms", "against_ms"),
                                      (stream, "ratio", "image_ms", "bare_ms")):  # of what one round measured in turn
        assert part[f"{ratio}_least"] >= 0.99 * part[f"{above}_least"] / part[f"{below}_most"]
        assert part[f"{ratio}_most"] <= 1.01 * part[f"{above}_most"] / part[f"{below}_least"]


STAGES = ["embed", "project", "attend", "feed_forward", "features", "encode", "read_out"]


@pytest.mark.parametrize("precision", ["f32", "bf16", "bf16x3"])
def test_it_compares_each_stage_with_the_peak(tool, demo, precision):
    answer = tool.run("bench", "--demo", demo, "--rounds", "1", "--json", "--threads", "1", "--precision", precision).json()
    rows, peak = {row["name"]: row for row in answer["rows"]}, answer["peak"]
    assert list(rows) == ["load", "decode", *STAGES, "answer", "whole", "stream"]
    assert peak["reading_gb_s"] > 0 and (precision != "f32" or peak["f32"] == peak["precision"])
    assert sum(rows[name].get("gflop", 0) for name in STAGES) == pytest.approx(answer["gflop"], abs=0.002)
    assert rows["whole"]["gflop"] == rows["stream"]["gflop"] == pytest.approx(answer["gflop"], abs=0.001)
    for name, row in rows.items():
        seconds = 1e-3 * row["ms"]
        assert seconds > 0
        if "gflop" in row:
            assert row["gflop_s"] == pytest.approx(row["gflop"] / seconds, rel=0.02, abs=0.02)
        if "bytes" in row:
            assert row["gb_s"] == pytest.approx(1e-9 * row["bytes"] / seconds, rel=0.02, abs=0.002)
        assert ("peak_percent" in row) == (name not in ("decode", "answer"))
    of_a_product = peak["precision"]["gflop_s"] / (3 if precision == "bf16x3" else 1)
    for name in STAGES[:-1]:
        most = peak["f32"]["gflop_s"] if name == "embed" else of_a_product  # patches are embedded in f32
        assert rows[name]["peak_percent"] == pytest.approx(100 * rows[name]["gflop_s"] / most, rel=0.03, abs=0.05)
    readout = 2100 * (128 + 1) * 4  # 1,000 + 1,100 vertices, each with 128 weights and a bias
    assert rows["read_out"]["bytes"] == pytest.approx(readout, rel=0.02)
    assert rows["read_out"]["peak_percent"] == pytest.approx(100 * rows["read_out"]["gb_s"] / peak["reading_gb_s"], rel=0.05)
    assert rows["answer"]["bytes"] > 2 * 2100  # a number and a comma a vertex



CASES_BY_NAME = {case.name: case for case in CASES}
WIDTH, HIDDEN, CELLS = 96, 128, 31 * 31  # of the golden encoders; of DINOv2's feature map


def linear(rows, columns, inner):
    """Floating-point operations of one product."""
    return 2 * rows * columns * inner


def attention(queries, tokens, width=WIDTH):
    return 2 * linear(queries, tokens, width)  # with the keys, with the values; over all heads


def vision_transformer(cells, blocks, width=WIDTH, patch=14, last=None, features=WIDTH, read=None):
    """`blocks` whole ones, of which the last gives `last` rows alone: those that `read` of them are taken from."""
    tokens, operations = cells + 1, linear(cells, width, 3 * patch**2)
    for block in range(blocks):
        rows = last if last is not None and block + 1 == blocks else tokens
        operations += linear(tokens, 3 * width, width) + attention(rows, tokens, width)
        operations += linear(rows, width, width) + 2 * linear(rows, 4 * width, width)
    return operations + linear(read if read is not None else cells, features, width)


def transformer(queries, cells=CELLS, encoder=0, decoder=1, values=True):
    """`encoder` layers up to the one that is read."""
    layer = linear(cells, 3 * WIDTH, WIDTH) + attention(cells, cells) + linear(cells, WIDTH, WIDTH)
    layer += 2 * linear(cells, HIDDEN, WIDTH)
    operations = encoder * layer + decoder * (1 + values) * linear(cells, WIDTH, WIDTH)
    operations += decoder * (attention(queries, cells) + linear(queries, WIDTH, WIDTH) + 2 * linear(queries, HIDDEN, WIDTH))
    return operations + (decoder - 1) * linear(queries, WIDTH, WIDTH)  # the first layer's queries are constants


def encoder_weights(queries):
    """Numbers that a transformer of one layer computes with. What projects the layer's queries is used up by then, and so are its
    unused norm and its first norm's gain, of which nothing but zero is the input."""
    matrices = 3 * WIDTH**2 + 2 * WIDTH * HIDDEN  # of keys, values, output; of the feed-forward part
    biases, norms = 3 * WIDTH + WIDTH + HIDDEN + WIDTH, WIDTH + 2 * 2 * WIDTH
    return matrices + biases + norms + queries * WIDTH


def convolution(rows, columns, inner, outer, kernel, stride, dilation=1):
    """Its operations and the sides of what it gives, padded so that only the stride makes it smaller. With a 3 x 3 kernel of
    stride 1 four results, two by two, take 16 multiplications (Winograd)."""
    sides = [(side - 1) // stride + 1 for side in (rows, columns)]
    if (kernel, stride) == (3, 1):
        tiles = [sum(min(dilation, rest) for rest in range(side, 0, -2 * dilation)) for side in (rows, columns)]
        return 16 * linear(tiles[0] * tiles[1], outer, inner), sides
    return linear(sides[0] * sides[1], outer, inner * kernel**2), sides


def resnet(side, width, counts, bottleneck, dilated):
    """Its operations, how many channels its map has and the sides of it."""
    operations, (rows, columns) = convolution(side, side, 3, width, 7, 2)
    rows, columns, inner, dilation = (rows + 1) // 2, (columns + 1) // 2, width, 1
    for stage, count in enumerate(counts):
        for number in range(count):
            stride = 2 if stage > 0 and number == 0 else 1
            narrow, outer, now = width << stage, (4 if bottleneck else 1) * (width << stage), dilation
            if dilated and stage == 3:  # its stride becomes dilation, after its first block, which still has that before it
                stride, dilation = 1, 2
            if bottleneck:
                steps = [(inner, narrow, 1, 1), (narrow, narrow, 3, stride), (narrow, outer, 1, 1)]
            else:
                steps = [(inner, narrow, 3, stride), (narrow, outer, 3, 1)]
            if stride != 1 or inner != outer:
                operations += convolution(rows, columns, inner, outer, 1, stride)[0]
            for of, to, kernel, by in steps:
                more, (rows, columns) = convolution(rows, columns, of, to, kernel, by, now)
                operations += more
            inner = outer
    return operations, inner, rows * columns


def with_resnet(side, counts, bottleneck, dilated=False):
    operations, channels, cells = resnet(side, 8, counts, bottleneck, dilated)
    return operations + linear(cells, WIDTH, channels) + transformer(50, cells)  # the projection to the encoder's width


LAST_Q, ALL_BLOCKS = vision_transformer(CELLS, 3, last=CELLS), vision_transformer(256, 3, 128, last=256)
COUNTED = {  # by the golden case's name: the operations that the description of the model gives
    "dinov2q_enc3": vision_transformer(CELLS, 1, last=CELLS) + transformer(50),
    "dec_layers2": LAST_Q + transformer(50, decoder=2),
    "enc_layers1_enc0": vision_transformer(CELLS, 0) + transformer(50, encoder=1),  # layer 0 of the backbone too
    "enc_layers2": LAST_Q + transformer(50, encoder=2),
    "voxels": LAST_Q + transformer(620),
    "custom_rois": LAST_Q + transformer(50, values=False),
    "spatial_rois": LAST_Q + linear(50, WIDTH, CELLS),
    "linear_q": LAST_Q + convolution(31, 31, WIDTH, 256, 3, 3)[0],
    "linear_q_cls": vision_transformer(CELLS, 3, last=1, read=1),
    "resnet-resnet18": with_resnet(224, [2, 2, 2, 2], False),
    "resnet-resnet50_dilation": with_resnet(224, [3, 4, 6, 3], True, True),
    "clip-transformer_rois": ALL_BLOCKS + transformer(50, 256),
    "clip-linear_cls": vision_transformer(256, 3, 128, last=1, read=1),
}


IN_F32 = {"embed": "", "encode": "spatial linear_q", "feed_forward": "resnet"}  # stages, of which models, whatever the precision


@pytest.mark.parametrize("name", COUNTED)
def test_the_products_of_every_encoder_are_counted(tool, tmp_path, name):
    case, subject = CASES_BY_NAME[name], tmp_path / "subject.safetensors"
    tool.run(*case.import_arguments(subject))
    answer = tool.run("bench", case.pictures[0], *backbone_options(case.backbone), "--subject", subject, "--rounds", "1", "--json",
                      "--precision", "bf16").json()
    rows, one, peak = {row["name"]: row for row in answer["rows"]}, answer["one"], answer["peak"]
    assert answer["gflop"] == pytest.approx(1e-9 * COUNTED[name], abs=0.0006)
    assert sum(rows[stage].get("gflop", 0) for stage in STAGES) == pytest.approx(answer["gflop"], abs=0.0006)
    assert ("gflop" in rows["encode"]) == (not name.endswith("_cls"))
    assert ("gflop" in rows["attend"]) == (not name.startswith("resnet") and name != "enc_layers1_enc0")
    assert 0 < sum(one[f"{stage}_ms"] for stage in STAGES) <= one["whole_ms"] + 0.01  # rounded as they are
    for stage in STAGES[:-1]:
        exact = any(part in name for part in IN_F32.get(stage, "nothing").split(" "))
        if "gflop" in rows[stage]:
            share = 100 * rows[stage]["gflop_s"] / peak["f32" if exact else "precision"]["gflop_s"]
            assert rows[stage]["peak_percent"] == pytest.approx(share, rel=0.03, abs=0.05)
    assert one["bare_ms"] > 0 and answer["stream"]["bare_ms"] > 0


def test_the_products_of_every_subject_are_counted(tool, tmp_path):
    encoders, weights, options = [], [], [*backbone_options("dinov2"), "--rounds", "1", "--json"]
    for number, name in enumerate(["dinov2q_enc3", "enc_layers2", "dinov2q_enc3"]):
        subject = tmp_path / f"{number}.safetensors"
        tool.run(*CASES_BY_NAME[name].import_arguments(subject), "--name", f"s{number}")
        options += ["--subject", subject]
        encoders.append(transformer(50, encoder=2 if name == "enc_layers2" else 0))
        backbone = LAST_Q if number > 0 else vision_transformer(CELLS, 1, last=CELLS)  # but the deepest are their blocks' queries
        answer = tool.run("bench", LARGE[0], *options).json()
        assert answer["gflop"] == pytest.approx(1e-9 * (backbone + sum(encoders)), abs=0.0006)
        weights.append(answer["weight_bytes"])
    assert weights[2] - weights[1] == 4 * (encoder_weights(50) + 620 * (WIDTH + 1))  # the readout's of 620 vertices


def test_it_refuses_what_is_missing(tool, demo, tmp_path):
    assert "--demo" in tool.refuses(USAGE, "bench")
    assert "--rounds" in tool.refuses(USAGE, "bench", "--demo", demo, "--rounds", "0")
    assert str(tmp_path) in tool.refuses(MISSING, "bench", "--demo", tmp_path)
    assert "'bf17'" in tool.refuses(USAGE, "bench", "--demo", demo, "--against", demo, "--against-precision", "bf17")
