#!/usr/bin/env python3
"""The engine at the size of BIRDS 525, beside the tools that people know: ratios, interleaved in one run.

    bench/engine.py WORK [--rounds 7] [--birdaug target/release/birdaug] [--only NAME ...] [--scale X]

WORK is a folder with 6 GB to spare. The first run makes the dataset (bench/make_birds.py) and fills the cache with
50,290 candidates, by far the longest part; later runs measure alone. (Every score is measured; the copy
guard is quick here because few of the made photos differ in pixels, and equal ones are compared once.) `--scale 0.1`
makes a tenth of the species and of the candidates, for trying things out; the figures meant are those of scale 1.
Measured: noop, hash, emit, photo, check, store. What a tool that is not installed would have said is left out and said so.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
# What people know that answers "is anything due?" of many files.
PEERS = ("git", "ninja", "n2", "dvc", "snakemake")


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.birdaug = str(options.birdaug.resolve())
        self.work: pathlib.Path = options.work.resolve()
        self.rounds: int = options.rounds
        self.scale: float = options.scale
        self.recipe = "recipes/engine.toml"

    def run(self, *args: str, quiet: bool = True) -> tuple[float, subprocess.CompletedProcess]:
        """Runs a command in WORK; the seconds it took, and what it said."""
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        started = time.perf_counter()
        done = subprocess.run(args, cwd=self.work, env=environment, capture_output=quiet, text=True)
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"{' '.join(args)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return seconds, done

    def shell(self, command: str) -> float:
        return self.run("bash", "-c", command)[0]

    def build(self, *args: str) -> tuple[float, subprocess.CompletedProcess]:
        return self.run(self.birdaug, "build", self.recipe, *args)

    def interleaved(self, **what) -> dict[str, list[float]]:
        """Each of `what` once a round, after one round that is not counted."""
        seconds: dict[str, list[float]] = {name: [] for name in what}
        for round_ in range(self.rounds + 1):
            for name, call in what.items():
                took = call()
                if round_:
                    seconds[name].append(took)
        return seconds

    def show(self, title: str, seconds: dict[str, list[float]], base: str) -> None:
        print(f"\n{title}, median of {self.rounds}, ratio to {base}")
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, median in medians.items():
            low, high = min(seconds[name]), max(seconds[name])
            print(f"  {name:34} {median:8.3f} s  ({low:.3f} to {high:.3f})  {median / medians[base]:6.2f}x")
        sys.stdout.flush()

    def prepare(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.work / "birds").exists():
            self.run(self.birdaug, "sample", "sample", quiet=False)
            maker = [sys.executable, str(HERE / "make_birds.py"), "sample", "making", "--scale", str(self.scale)]
            self.run(*maker, quiet=False)
            (self.work / "making").rename(self.work / "birds")
        (self.work / "recipes").mkdir(exist_ok=True)
        shutil.copy(HERE / "engine.toml", self.work / self.recipe)
        seconds, _ = self.run(self.birdaug, "build", self.recipe, quiet=False)
        print(f"the cache is full, the tree is written ({seconds:.0f} s)")

    def noop(self) -> None:
        find = "find birds out/engine -printf '%s %T@ %i %p\\n' > /dev/null"
        what = {
            "find": lambda: self.shell(find),
            "birdaug build": lambda: self.build()[0],
            "birdaug plan": lambda: self.run(self.birdaug, "plan", self.recipe)[0],
            "birdaug --version": lambda: self.run(self.birdaug, "--version")[0],
        }
        for tool in PEERS:
            if shutil.which(tool):
                what[f"{tool} (dataset alone)"] = getattr(self, f"with_{tool}")()
        self.show("nothing to do: dataset and emitted tree", self.interleaved(**what), "find")
        for tool in PEERS:
            if not shutil.which(tool):
                print(f"  {tool}: not installed, not measured")
        print(f"  peak memory of the build: {self.usage('build', self.recipe).ru_maxrss / 1024:.0f} MiB")

    def photos(self) -> list[str]:
        return [str(path) for path in sorted((self.work / "birds").rglob("*.jpg"))]

    def with_git(self) -> Callable[[], float]:
        # Beside the photos, so that `find` does not walk through it, and without tidying up behind our back.
        git = "git --git-dir=git --work-tree=birds -c core.fsync=none -c gc.auto=0 -c maintenance.auto=false"
        if not (self.work / "git").exists():
            self.shell(f"git init -q --bare git && {git} add -A && {git} -c user.name=x -c user.email=x@y commit -qm birds")
        return lambda: self.shell(f"{git} status --porcelain")

    def with_ninja(self, tool: str = "ninja") -> Callable[[], float]:
        folder = self.work / tool
        folder.mkdir(exist_ok=True)
        escaped = " ".join(path.replace(" ", "$ ") for path in self.photos())
        (folder / "build.ninja").write_text(f"rule touch\n  command = touch $out\nbuild done: touch | {escaped}\n")
        self.shell(f"{tool} -C {tool}")
        return lambda: self.shell(f"{tool} -C {tool}")

    def with_n2(self) -> Callable[[], float]:
        return self.with_ninja("n2")

    def with_dvc(self) -> Callable[[], float]:
        folder = self.work / "dvc"
        if not (folder / "birds.dvc").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            # Its own cache holds copies, so that the photos stay as they are.
            setup = "dvc init --no-scm -q && dvc config core.analytics false && dvc config cache.type copy"
            self.shell(f"cp -a birds dvc/birds && cd dvc && {setup} && dvc add -q birds")
        return lambda: self.shell("cd dvc && dvc status -q")

    def with_snakemake(self) -> Callable[[], float]:
        folder = self.work / "snakemake"
        folder.mkdir(exist_ok=True)
        (folder / "photos.txt").write_text("\n".join(self.photos()))
        rule = 'rule done:\n    input: open("photos.txt").read().split("\\n")\n    output: "done"\n    shell: "touch done"\n'
        (folder / "Snakefile").write_text(rule)
        self.shell("cd snakemake && snakemake -q --cores 1 2>&1")
        return lambda: self.shell("cd snakemake && snakemake -n -q 2>&1")

    def hash(self) -> None:
        if not shutil.which("b3sum"):
            print("\nfirst scan: b3sum is not installed, not measured")
            return

        def scan() -> float:
            for index in (self.work / "cache").glob("stat-photos-*"):
                index.unlink()
            return self.build("--until", "scan")[0]

        b3sum = "find birds -name '*.jpg' -print0 | xargs -0 -P2 b3sum --num-threads 1 > /dev/null"
        seconds = self.interleaved(**{"xargs -P2 b3sum": lambda: self.shell(b3sum), "birdaug, all hashed": scan})
        self.show("first scan", seconds, "xargs -P2 b3sum")

    def emitted(self) -> float:
        """Seconds of the emit step by birdaug's own line; the tree is due."""
        _, done = self.build("--until", "emit")
        line = re.search(r"^emit: .* in (?:([0-9.]+) s|(\d+) ms)$", done.stderr, re.MULTILINE)
        if not line:
            sys.exit(f"nothing was emitted:\n{done.stderr}")
        return float(line[1]) if line[1] else int(line[2]) / 1000

    def emit(self) -> None:
        def copy() -> float:
            shutil.rmtree(self.work / "copy", ignore_errors=True)
            return self.shell("cp -al out/engine copy")

        def from_nothing() -> float:
            shutil.rmtree(self.work / "out/engine")
            shutil.rmtree(self.work / "cache/trees", ignore_errors=True)
            return self.emitted()

        recipe = self.work / self.recipe
        text = recipe.read_text()
        few = iter(range(1, 1000))

        def one_species() -> float:
            # Another number of images for one species: fewer, so that nothing has to be made.
            recipe.write_text(text.replace("target = 257", f'target = 257\n[balance.species]\n"SPECIES 007" = {next(few)}'))
            return self.emitted()

        seconds = self.interleaved(
            **{"cp -al": copy, "emit from nothing": from_nothing, "emit after one changed species": one_species}
        )
        recipe.write_text(text)
        self.build()
        shutil.rmtree(self.work / "copy", ignore_errors=True)
        self.show("emit", seconds, "cp -al")

    def photo(self) -> None:
        """One photo changed: the scan, and a plan, which goes through all steps up to the first that rests on the photo."""
        victims = {split: sorted((self.work / "birds" / split).rglob("*.jpg"))[0] for split in ("train", "valid", "test")}
        whole = {split: victim.read_bytes() for split, victim in victims.items()}
        self.build()

        def change(split: str) -> None:
            victim = victims[split]
            changed = bytearray(victim.read_bytes())
            changed[-3] ^= 1 if bytes(changed) == whole[split] else 2
            victim.write_bytes(changed)

        def mend() -> None:
            for split, victim in victims.items():
                if victim.read_bytes() != whole[split]:
                    victim.write_bytes(whole[split])
            self.build("--until", "scan")

        def timed(args: list[str], split: str | None) -> float:
            mend()
            if split:
                change(split)
            return self.run(self.birdaug, *args)[0]

        scan, plan = ["build", self.recipe, "--until", "scan"], ["plan", self.recipe]
        what = {"scan, nothing changed": lambda: timed(scan, None), "scan, one photo changed": lambda: timed(scan, "test")}
        self.show("one changed photo", self.interleaved(**what), "scan, nothing changed")
        what = {"plan, nothing changed": lambda: timed(plan, None)}
        for split in victims:
            what[f"plan, a {split} photo changed"] = lambda split=split: timed(plan, split)
        self.show("one changed photo", self.interleaved(**what), "plan, nothing changed")
        for split in victims:
            mend()
            change(split)
            usage = self.usage("plan", self.recipe)
            print(f"  plan, a {split} photo changed: {usage.ru_utime + usage.ru_stime:.2f} s of CPU, "
                  f"peak {usage.ru_maxrss / 1024:.0f} MiB")
        mend()

    def usage(self, *args: str) -> resource.struct_rusage:
        done = subprocess.Popen([self.birdaug, *args], cwd=self.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return os.wait4(done.pid, 0)[2]

    def check(self) -> None:
        what = {"birdaug cache check": lambda: self.run(self.birdaug, "cache", "check")[0]}
        base = "birdaug cache check"
        if shutil.which("b3sum"):
            b3sum = "find cache/blobs -type f -print0 | xargs -0 -P2 b3sum --num-threads 1 > /dev/null"
            what = {"xargs -P2 b3sum": lambda: self.shell(b3sum), **what}
            base = "xargs -P2 b3sum"
        self.show("cache check", self.interleaved(**what), base)

    def store(self) -> None:
        """Commits, lookups and `gc` by the crate's own timed tests, which print their rates."""
        for test in ("store::speed_tests", "run::gc_tests::times_of_half_a_million_entries"):
            command = ["cargo", "test", "--release", "--lib", test, "--", "--ignored", "--nocapture"]
            done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
            print(f"\n{test}")
            print("\n".join(f"  {line}" for line in done.stdout.splitlines() if re.search(r"\d (s|a second|MiB)\b", line)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--birdaug", type=pathlib.Path, default=HERE.parent / "target/release/birdaug")
    parser.add_argument("--only", nargs="+", default=["noop", "hash", "emit", "photo", "check", "store"])
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bench = Bench(options)
    bench.prepare()
    for name in options.only:
        getattr(bench, name)()


if __name__ == "__main__":
    main()
