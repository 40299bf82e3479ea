"""Predicts a demo's picture with PyTorch whenever it is told to: python3 pytorch_worker.py FOLDER PRECISION THREADS

It says "ready VERSION" first. Each line of standard input is a command: "run" answers with the seconds of a prediction, "save PATH"
writes the responses of the last one as .npy and answers "saved".
"""
import sys
import time
from pathlib import Path

import common  # noqa: F401  (where the modules of the tests are)
import numpy as np
import torch
from pytorch_model import Model, pixels
from support import decode_png


def main():
    folder, precision, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    image = pixels(decode_png((folder / "picture.png").read_bytes()))
    with torch.inference_mode():
        model = Model(folder, image, precision)
        print("ready", torch.__version__, flush=True)
        for line in sys.stdin:
            command, *path = line.rstrip("\n").split(" ", 1)
            if command == "run":
                start = time.perf_counter()
                answer = model(image).numpy()
                print(time.perf_counter() - start, flush=True)
            else:
                np.save(path[0], answer)
                print("saved", flush=True)


if __name__ == "__main__":
    main()
