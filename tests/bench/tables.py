"""Markdown tables of what run.py measured, one function a section: also its order."""


def table(heads, rows):
    """The first column to the left, the others, numbers, to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def machine(it):
    return table(["machine", ""], list(it.items()))


ROW_NAMES = {"load": "load (warm disk)", "decode": "decode and fit", "answer": "answer as JSON", "whole": "whole, one image on all threads",
             "stream": "an image of a stream, one a thread"}


def stages(runs):
    """Of one precision after the other."""
    return "\n".join(one_run(it) for it in runs)


def one_run(it):
    peak = it["peak"]
    text = (f"**{it['precision']}**: {it['backbone']}, {it['grid'][0]} x {it['grid'][1]} tokens, {it['subjects']} subject(s), {it['threads']} "
            f"threads, {it['isa']} kernels, medians of {it['rounds']} rounds. Peak of these threads: f32 "
            f"{peak['f32']['gflop_s']:.0f} GFLOP/s ({peak['f32']['instructions']}), {it['precision']} "
            f"{peak['precision']['gflop_s']:.0f} GFLOP/s ({peak['precision']['instructions']}), reading memory "
            f"{peak['reading_gb_s']:.1f} GB/s. Resident at most {it['resident_bytes'] / 2**20:.0f} MB, weights "
            f"{it['weight_bytes'] / 2**20:.0f} MB.\n\n")
    rows = [[ROW_NAMES.get(row["name"], "&nbsp; " + row["name"]), number(row["ms"], 2), number(row.get("gflop"), 1),
             number(row.get("gflop_s"), 0), number(row.get("gb_s"), 2), number(row.get("peak_percent"), 1)] for row in it["rows"]]
    for name, part, key in (("one image", it["one"], "whole_ms"), ("stream", it["stream"], "image_ms")):
        rows.append([f"bare products by cblas_sgemm, {name}", number(part["bare_ms"], 2), number(it["gflop"], 1),
                     number(1e3 * it["gflop"] / part["bare_ms"], 0), "", ""])
        rows.append([f"{name} / its bare products", number(part[key] / part["bare_ms"], 3), "", "", "", ""])
    return text + table(["stage", "ms", "GFLOP", "GFLOP/s", "GB/s", "% of peak"], rows)


def products(it):
    peak = it["peak"]
    text = (f"One thread, {it['isa']}; peak f32 {peak['f32']['gflop_s']:.0f} GFLOP/s ({peak['f32']['instructions']}), bf16 "
            f"{peak['bf16']['gflop_s']:.0f} ({peak['bf16']['instructions']}). In bf16x3 three products count as one, and their part of "
            "the peak as three. Best of 15.\n\n")
    rows = []
    for one in it["products"]:
        shape = f"{one['rows']} x {one['columns']} x {one['inner']}" if "rows" in one else f"{one['tokens']} tokens, {one['heads']} heads"
        rows.append([f"{one['name']}, {shape}", one["precision"], number(one["gflop_s"], 1), number(one["peak_percent"], 1),
                     number(one.get("sgemm_gflop_s"), 1)])
    return text + table(["product", "precision", "GFLOP/s", "% of peak", "cblas_sgemm, f32"], rows)


def pytorch(it):
    if "skipped" in it:
        return f"Skipped: {it['skipped']}.\n"
    ms, ratios = it["ms"], it["times_faster"]
    text = (f"The same picture and weights, {it['threads']} threads, in turn, medians of {it['rounds']} rounds. PyTorch from pixels to "
            "responses (OMP_WAIT_POLICY=passive, inference_mode); brainenc end to end through the daemon, from the file's bytes to the "
            f"JSON. Largest difference between the two: {it['difference_sd']['f32']:.1e} standard deviations in f32, PyTorch's bf16 "
            f"{it['difference_sd']['bf16']:.2g}.\n\n")
    rows = [[f"PyTorch, {name}", number(ms[f"torch_{name}"], 1), "", "", ""] for name in ("f32", "bf16")]
    for name in ("f32", "bf16", "bf16x3"):
        rows.append([f"brainenc, {name}", number(ms[f"brainenc_{name}"], 1), number(ms[f"model_{name}"], 1),
                     number(ratios[f"{name}_over_torch_f32"], 2), number(ratios[f"{name}_over_torch_bf16"], 2)])
    return text + table(["", "ms", "of it backbone + encoder", "times PyTorch f32", "times PyTorch bf16"], rows)


def onednn(it):
    if "skipped" in it:
        return f"Skipped: {it['skipped']}.\n"
    text = f"oneDNN {it['onednn']}, one thread, in turn, best of 15; peak f32 {it['peak']['f32']:.0f}, bf16 {it['peak']['bf16']:.0f} GFLOP/s.\n\n"
    rows = [[f"{one['name']}, {one['rows']} x {one['columns']} x {one['inner']}", one["precision"], number(one["gflop_s"], 1),
             number(one["onednn_gflop_s"], 1), number(one["gflop_s"] / one["onednn_gflop_s"], 2), number(one["sgemm_gflop_s"], 1)]
            for one in it["products"]]
    return text + table(["product", "precision", "brainenc, GFLOP/s", "oneDNN", "ratio", "cblas_sgemm, f32"], rows)


def accuracy(it):
    text = (f"Against f32 over {it['pictures']} procedural pictures, random weights: the correlation over pictures of each vertex's response, "
            "the largest difference in standard deviations of a vertex, the largest total variation between two maps of a ROI.\n\n")
    rows = [[name, f"{one['median']:.7f}", f"{one['least']:.6f}", f"{one['difference']:.2g}", f"{100 * one['variation']:.4f} %"]
            for name, one in it["precisions"].items()]
    return text + table(["precision", "correlation, median", "least", "largest difference, sd", "maps, variation"], rows)


def load(runs):
    text = ""
    for it in runs:
        beyond, library = it["beyond_model_ms"], it["library_images_s"]
        rows = [[line["clients"], number(line["images_s"], 2), number(line["images_s"] / library, 3), number(line["p50_ms"], 0),
                 number(line["p99_ms"], 0), number(line["healthz_p99_ms"], 2), line["requests"]] for line in it["clients"]]
        text += (f"**{it['precision']}**: one client, beyond backbone + encoder: {beyond['median']:.1f} ms, worst {beyond['worst']:.1f}. "
                 f"The library's own stream: {library:.2f} images a second.\n\n")
        text += table(["clients", "images/s", "of the library's", "p50, ms", "p99, ms", "/healthz p99, ms", "requests"], rows) + "\n"
    return text


def models(runs):
    rows = [[it["model"], it["precision"], number(it["one"]["whole_ms"], 1), number(it["one"]["encode_ms"] + it["one"]["read_out_ms"], 1),
             number(it["one"]["against_ratio"], 3), number(it["weight_bytes"] / 2**20, 0)] for it in runs if "skipped" not in it]
    text = table(["model", "precision", "one image, ms", "of it encoders and readouts", "times rois_all", "weights, MB"], rows)
    return text + "".join(f"\nSkipped: {it['skipped']}.\n" for it in runs if "skipped" in it)


SECTIONS = {"machine": ("Machine", machine), "stages": ("A prediction, stage by stage", stages), "products": ("Products", products),
            "onednn": ("Beside oneDNN", onednn), "pytorch": ("Beside PyTorch", pytorch), "accuracy": ("Accuracy", accuracy), "load": ("The daemon under load", load),
            "models": ("Other models, in turn with rois_all in the same precision", models)}


def section(name, it):
    title, make = SECTIONS[name]
    return f"## {title}\n\n{make(it)}"
