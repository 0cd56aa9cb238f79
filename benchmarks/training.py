"""Training: windows per second, arithmetic, waiting and memory; beside bare passes and lightly's DINO.

Ours is ``dawnchorus train`` as it is: windows of 128 x 256 from spectrogram stores, the recipe for
230,000 windows (two global crops, six local ones), augmentation, optimiser, monitors, log. The floor is
the bare forward and backward of the same networks on random crops of the same shapes. The peer is
lightly's loop on the same backbone, augmented on the CPU as usual. For ViT-Ti, ViT-S and ViT-B, each
side in a process of its own, one after the other (the floor before and after ours; the better counts),
with and without compiled blocks (the peer without).

Model FLOP utilisation is the arithmetic of the bare passes (counted by PyTorch: matrix products
only) per second, over the rate of one large matrix product in the same precision on the same device.

Run ``python benchmarks/training.py [--quick] [--method vicreg] [--batch N] [--save FILE]``; on the GPU if there is
one (bf16), else on the CPU (fp32).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from learners import FRAMES, MELS, SEASON_EPOCHS, SEASON_WINDOWS, Task

from spectrograms import heading

SIZES = ("vit_tiny", "vit_small", "vit_base")
BATCH = {
    "cpu": {"vit_tiny": 8, "vit_small": 4, "vit_base": 2},
    "cuda": {"vit_tiny": 512, "vit_small": 512, "vit_base": 256},
}
STEPS = {"cpu": {"ours": (2, 4), "bare": (1, 2)}, "cuda": {"ours": (20, 60), "bare": (10, 40)}}
"""Steps that are not counted, and steps that are."""
PACKAGES = ("dawnchorus", "torch", "torchvision", "timm", "lightly", "pillow")
PEER = {"dino": "lightly DINO", "vicreg": "lightly VICReg"}
Found = dict[str, Any]


def side(name: str, task: Task) -> Found:
    """Run one side; in its own process."""
    from learners import arithmetic, bare, ours, peer

    if name == "set":
        ours.write_set(task)
        return {}
    if name == "peak":
        import torch

        on_gpu = task.device == "cuda"
        return {**arithmetic.peak(task), "gpu": torch.cuda.get_device_name() if on_gpu else None}
    if name == "operations":
        return {"per_window": arithmetic.operations(task) / task.batch}
    return {"ours": ours.run, "bare": bare.run, "peer": peer.run}[name](task)


def in_a_process(name: str, task: Task, threads: int) -> Found | None:
    """What a side found; None if it failed, which is then said."""
    told = json.dumps({**asdict(task), "root": str(task.root)})
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--side", name, "--task", told]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {task.backbone}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return None


def steps(name: str, device: str, workers: int) -> tuple[int, int]:
    if name != "peer":
        return STEPS[device][name]
    # Workers begin together: on a fast device their first batches come at once.
    return (workers, 2 * workers) if device == "cuda" else (1, 3)


def main() -> None:  # noqa: PLR0915 - one line of the page after the other
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ViT-Ti only, nothing compiled")
    parser.add_argument("--method", choices=PEER, default="dino")
    parser.add_argument("--batch", type=int, help="windows per step, the same for all sizes")
    parser.add_argument("--threads", type=int, help="of PyTorch (all cores); 1 if others work too")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="backbones (all three)")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        told = json.loads(options.task)
        print(json.dumps(side(options.side, Task(**{**told, "root": Path(told["root"])}))))
        return

    import torch
    from learners import bare, ours, peer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = peer.workers()
    threads = options.threads or workers
    sizes = options.sizes or (SIZES[:1] if options.quick else SIZES)
    compiled = (False,) if options.quick else (False, True)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    began = time.perf_counter()
    for line in heading(PACKAGES):
        show(line)
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:

        def task(name: str, size: str, blocks: bool) -> Task:
            batch = options.batch or BATCH[device][size] // (2 if options.quick else 1)
            root = Path(folder) / str(batch)
            made = Task(options.method, size, blocks, device, batch, 0, 0, root)
            if name not in ("ours", "bare", "peer"):
                return made
            warm, counted = steps(name, device, workers)
            if options.quick:
                warm, counted = min(warm, 2), min(counted, 2 if device == "cpu" else counted)
            return replace(made, warm=warm, steps=counted)

        def run(name: str, size: str, blocks: bool = False) -> Found | None:
            return in_a_process(name, task(name, size, blocks), threads)

        most = run("peak", sizes[0]) or {"peak": float("nan"), "gpu": None}
        precision = task("peak", sizes[0], False).precision
        show(
            f"{most['gpu'] or f'CPU, {threads} threads'}: {most['peak'] / 1e12:.3f} TFLOP/s, the best of "
            f"some large matrix products in {precision}"
        )
        show(
            f"windows of {MELS} x {FRAMES}, {options.method} as the recipe for {SEASON_WINDOWS:,} "
            f"windows has it; {precision}; each side in its own process, one after the other"
        )
        show(f"ours:  {ours.TOLD}")
        show(f"floor: {bare.TOLD}")
        show("peer:  " + peer.TOLD[options.method].format(workers=workers))
        for size in sizes:
            if not task("set", size, False).root.exists():
                run("set", size)
            work = (run("operations", size) or {"per_window": float("nan")})["per_window"]
            batch = task("set", size, False).batch
            show("")
            show(f"{size}: {work / 1e9:,.1f} GFLOP a window, {batch} windows a step")
            theirs = run("peer", size)
            for blocks in compiled:
                # The floor before and after, and the better counts: others may use the machine.
                floors = [run("bare", size, blocks)]
                here = run("ours", size, blocks)
                if not options.quick:
                    floors.append(run("bare", size, blocks))
                floors = [one for one in floors if one is not None]
                if not floors or here is None:
                    continue
                floor = {key: max(one[key] for one in floors) for key in floors[0]}
                one = {
                    "backbone": size,
                    "compiled": blocks,
                    "batch": batch,
                    "ours": here["rate"],
                    "floor": floor["rate"],
                    "to_floor": here["rate"] / floor["rate"],
                    "to_floor_per_cpu_second": here["per_cpu"] / floor["per_cpu"],
                    "flop_utilisation": here["rate"] * work / most["peak"],
                    "floor_utilisation": floor["rate"] * work / most["peak"],
                    "data_wait_share": here["data_wait_share"],
                    "monitor_share": here["monitor_share"] + here["probe_share"],
                    "memory_gb": here["memory_gb"],
                    "season_hours": SEASON_WINDOWS * SEASON_EPOCHS / here["rate"] / 3600,
                    "peer": theirs and theirs["rate"],
                    "peer_wait_share": theirs and theirs["data_wait_share"],
                }
                found.append(one)
                show(
                    f"{'compiled' if blocks else 'not compiled'}: ours {one['ours']:,.2f} windows/s, "
                    f"{one['to_floor']:.1%} of the floor's {one['floor']:,.2f} ("
                    f"{one['to_floor_per_cpu_second']:.1%} by CPU seconds); {one['flop_utilisation']:.1%} of "
                    f"the peak (floor {one['floor_utilisation']:.1%}); waits {one['data_wait_share']:.2%}, "
                    f"monitors {one['monitor_share']:.2%}; {one['memory_gb']:.2f} GB (floor "
                    f"{floor['memory_gb']:.2f}); {SEASON_WINDOWS:,} x {SEASON_EPOCHS} in "
                    f"{one['season_hours']:,.2f} h"
                )
            if theirs is not None:
                show(
                    f"{PEER[options.method]}: {theirs['rate']:,.2f} windows/s, waits "
                    f"{theirs['data_wait_share']:.2%}, {theirs['memory_gb']:.2f} GB without its workers"
                )
    show("")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}; {time.perf_counter() - began:.0f} s")
    wanted = [one for one in found if one["backbone"] == "vit_small"] or found
    best = max(wanted, key=lambda one: one["ours"]) if device == "cuda" else wanted[0]
    peers = {} if best["peer"] is None else {PEER[options.method]: round(best["peer"], 3)}
    show(
        json.dumps(
            {
                "benchmark": "training",
                "ours": round(best["ours"], 3),
                "unit": f"windows per second, {options.method} {best['backbone']}",
                "peers": peers,
                "floor": round(best["floor"], 3),
                "ratio_to_fastest_peer": round(best["ours"] / max(peers.values()), 3)
                if peers
                else None,
                "ratio_to_floor": round(best["to_floor"], 3),
                "device": most["gpu"] or "cpu",
                "precision": precision,
                "peak_tflops": round(most["peak"] / 1e12, 4),
                "runs": [
                    {k: round(v, 5) if isinstance(v, float) else v for k, v in one.items()}
                    for one in found
                ],
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
