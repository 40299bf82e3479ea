"""Markdown tables of what run.py measured, one function a section: also its order."""


def table(heads, rows):
    """The first column to the left, the others, numbers, to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def machine(it):
    return table(["machine", ""], list(it.items()))


ROW_NAMES = {"load": "load, once (warm disk)", "decode": "decode and fit", "answer": "answer as JSON",
             "whole": "whole, one image on all threads", "stream": "an image of a stream, one a thread"}
SPREAD = ("ms", "fastest", "slowest")


def spread(it, key, digits):
    """Median, least and most, as cells."""
    return [number(it[key], digits), number(it.get(f"{key}_least"), digits), number(it.get(f"{key}_most"), digits)]


def stages(runs):
    """Of one precision after the other."""
    return "\n".join(one_run(it) for it in runs)


def what_was_run(it):
    """Model, picture, threads and peaks of `brainenc bench`."""
    peak, left_right = it["peak"], " + ".join(f"{count:,}" for count in it["vertices"])
    in_f32 = f"f32 {peak['f32']['gflop_s']:.0f} GFLOP/s ({peak['f32']['instructions']}), "
    in_precision = f"{it['precision']} {peak['precision']['gflop_s']:.0f} GFLOP/s ({peak['precision']['instructions']}), "
    return (f"**{it['precision']}**: {it['backbone']}, a picture of {it['picture'][0]} x {it['picture'][1]}, {it['grid'][0]} x "
            f"{it['grid'][1]} tokens, {it['subjects']} subject(s) of {left_right} vertices and {it['members']} member(s), "
            f"{it['threads']} threads, {it['isa']} kernels (cblas_sgemm: {it['sgemm']}), medians, fastest and slowest of "
            f"{it['rounds']} rounds. Peak of these threads, the best of the rounds: {in_f32}"
            f"{in_precision if it['precision'] != 'f32' else ''}reading memory {peak['reading_gb_s']:.1f} GB/s. Resident at most "
            f"{it['resident_bytes'] / 2**20:.0f} MiB, weights {it['weight_bytes'] / 2**20:.0f} MiB.\n\n")


def one_run(it):
    rows = [[ROW_NAMES.get(row["name"], "&nbsp; " + row["name"]), *spread(row, "ms", 2), number(row.get("gflop"), 1),
             number(row.get("gflop_s"), 0), number(row.get("gb_s"), 2), number(row.get("peak_percent"), 1)] for row in it["rows"]]
    for name, part in (("one image", it["one"]), ("stream", it["stream"])):
        rows.append([f"bare products by cblas_sgemm, {name}", *spread(part, "bare_ms", 2), number(it["gflop"], 1),
                     number(1e3 * it["gflop"] / part["bare_ms"], 0), "", ""])
        rows.append([f"{name} / its bare products of the same round", *spread(part, "ratio", 3), "", "", "", ""])
    return what_was_run(it) + table(["stage", *SPREAD, "GFLOP", "GFLOP/s", "GB/s", "% of peak"], rows)


def products(it):
    peak = it["peak"]
    text = (f"One thread, {it['isa']}; peak f32 {peak['f32']['gflop_s']:.0f} GFLOP/s ({peak['f32']['instructions']}), bf16 "
            f"{peak['bf16']['gflop_s']:.0f} ({peak['bf16']['instructions']}). In bf16x3 three products count as one, and their "
            f"part of the peak as three. The best of {it['rounds']} rounds, in turn with cblas_sgemm, and their median.\n\n")
    rows = []
    for one in it["products"]:
        matrices = "rows" in one
        shape = (f"{one['rows']} x {one['columns']} x {one['inner']}" if matrices
                 else f"{one['tokens']} tokens, {one['heads']} heads of {one['head_width']}")
        rows.append([f"{one['name']}, {shape}", one["precision"], number(one["gflop_s"], 1), number(one["median_gflop_s"], 1),
                     number(one["peak_percent"], 1), number(one.get("sgemm_gflop_s"), 1),
                     number(one.get("sgemm_median_gflop_s"), 1)])
    return text + table(["product", "precision", "GFLOP/s", "median", "% of peak", "cblas_sgemm, f32", "median"], rows)


def pytorch(it):
    if "skipped" in it:
        return f"Skipped: {it['skipped']}.\n"
    text = (f"PyTorch {it['version']}, the same picture and weights, {it['threads']} threads, in turn, medians of {it['rounds']} "
            "rounds with the least and the most of them; a multiple is of what one round measured. PyTorch from pixels to "
            "responses (OMP_WAIT_POLICY=passive, inference_mode); brainenc end to end through the daemon, from the file's bytes to "
            f"the JSON. Largest difference between the two: {it['difference_sd']['f32']:.1e} standard deviations in f32, PyTorch's "
            f"bf16 {it['difference_sd']['bf16']:.2g}.\n\n")
    rows = [[f"PyTorch, {name}", with_range(it["ms"][f"torch_{name}"], 1), "", "", ""] for name in ("f32", "bf16")]
    for name in ("f32", "bf16", "bf16x3"):
        ratios = [with_range(it["times_faster"][f"{name}_over_torch_{other}"], 2) for other in ("f32", "bf16")]
        rows.append([f"brainenc, {name}", with_range(it["ms"][f"brainenc_{name}"], 1), with_range(it["ms"][f"model_{name}"], 1),
                     *ratios])
    return text + table(["", "ms", "of it backbone + encoder", "times PyTorch f32", "times PyTorch bf16"], rows)


def with_range(it, digits):
    return f"{it['median']:.{digits}f} ({it['least']:.{digits}f} to {it['most']:.{digits}f})"


def onednn(it):
    if "skipped" in it:
        return f"Skipped: {it['skipped']}.\n"
    text = (f"oneDNN {it['onednn']}, one thread, {it['isa']}, in turn, the best of {it['rounds']} rounds and their median; the "
            f"ratio is of the best. Peak f32 {it['peak']['f32']:.0f}, bf16 {it['peak']['bf16']:.0f} GFLOP/s.\n\n")
    rows = [[f"{one['name']}, {one['rows']} x {one['columns']} x {one['inner']}", one["precision"], number(one["gflop_s"], 1),
             number(one["median_gflop_s"], 1), number(one["onednn_gflop_s"], 1), number(one["onednn_median_gflop_s"], 1),
             number(one["gflop_s"] / one["onednn_gflop_s"], 2), number(one["sgemm_gflop_s"], 1)] for one in it["products"]]
    return text + table(["product", "precision", "brainenc, GFLOP/s", "median", "oneDNN", "median", "ratio", "cblas_sgemm, f32"],
                        rows)


def accuracy(it):
    text = (f"Against f32 over {it['pictures']} procedural pictures (tests/bench/accuracy.py draws them by number), random "
            "weights: the correlation over pictures of each vertex's response, the largest difference in standard deviations of a "
            f"vertex; over the first {it['map_pictures']} of them the largest total variation between two maps of a ROI.\n\n")
    rows = [[one["backbone"], one["precision"], f"{one['median']:.7f}", f"{one['least']:.6f}", f"{one['difference']:.2g}",
             f"{100 * one['variation']:.4f} %"] for one in it["models"]]
    return text + table(["backbone", "precision", "correlation, median", "least", "largest difference, sd", "maps, variation"], rows)


def load(runs):
    text = ("Each client asks for the demo's picture again and again; a p99 of fewer than 100 requests is the slowest of them. The "
            "library's own stream is that of `brainenc predict`, before and after the clients.\n\n")
    for it in runs:
        beyond, library = it["beyond_model_ms"], it["library_images_s"]
        before, after = it["library_images_s_before_and_after"]
        rows = [[line["clients"], number(line["images_s"], 2), number(line["images_s"] / library, 3), number(line["p50_ms"], 0),
                 number(line["p99_ms"], 0), number(line["healthz_p99_ms"], 2), line["requests"], line["healthz_asked"]]
                for line in it["clients"]]
        text += (f"**{it['precision']}**: one client, beyond backbone + encoder: {beyond['median']:.1f} ms, worst of "
                 f"{beyond['requests']} {beyond['worst']:.1f}. The library's own stream: {library:.2f} images a second "
                 f"({before:.2f} before, {after:.2f} after).\n\n")
        text += table(["clients", "images/s", "of the library's", "p50, ms", "p99, ms", "/healthz p99, ms", "requests",
                       "/healthz asked"], rows) + "\n"
    return text


def models(runs):
    measured = [it for it in runs if "skipped" not in it]
    rows = [[it["model"], it["precision"], number(it["one"]["whole_ms"], 1),
             number(it["one"]["encode_ms"] + it["one"]["read_out_ms"], 1), *spread(it["one"], "against_ratio", 3),
             number(it["weight_bytes"] / 2**20, 0)] for it in measured]
    text = ""
    if measured:
        text = f"Medians of {measured[0]['rounds']} rounds; a multiple is of what one round measured in turn.\n\n" + table(
            ["model", "precision", "one image, ms", "of it encoders and readouts", "times rois_all", "least", "most",
             "weights, MiB"], rows)
    return text + "".join(f"\nSkipped: {it['skipped']}.\n" for it in runs if "skipped" in it)


SECTIONS = {"machine": ("Machine", machine), "stages": ("A prediction, stage by stage", stages), "products": ("Products", products),
            "onednn": ("Beside oneDNN", onednn), "pytorch": ("Beside PyTorch", pytorch), "accuracy": ("Accuracy", accuracy),
            "load": ("The daemon under load", load),
            "models": ("Other models, in turn with rois_all in the same precision", models)}


def section(name, it):
    title, make = SECTIONS[name]
    return f"## {title}\n\n{make(it)}"
