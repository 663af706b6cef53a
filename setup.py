"""Maps the rooms at the root to subpackages of deconvnet.core and compiles the host kernels; all else stands in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
KERNELS = "deconvnet.core.kernels"
# prototxt/ holds nets and no code; beside solver/, so that a solver finds its net by the path it names
ROOMS = ("proto", "kernels", "blob", "layers", "net", "solver", "segmentation", "prototxt")

host_build = runpy.run_path(str(ROOT / "kernels" / "host_build.py"))


class BuildWithKernels(build_py):
    """Compile the host kernels beside their sources; a wheel gets a copy, an editable install uses them where they are."""

    def run(self):
        try:
            library = host_build["build"](ROOT / "kernels")
        except host_build["BuildError"] as error:
            raise SystemExit(f"deconvnet: {error}") from None
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, *KERNELS.split("."))
            for stale in folder.glob("libkernels-*"):
                stale.unlink()
            shutil.copy2(library, folder)


class PlatformDistribution(Distribution):
    """A wheel for this kind of machine only: it holds compiled kernels."""

    def has_ext_modules(self):
        return True


setup(
    packages=["deconvnet", "deconvnet.core", *(f"deconvnet.core.{room}" for room in ROOMS)],
    package_dir={f"deconvnet.core.{room}": room for room in ROOMS},
    package_data={
        KERNELS: ["*.cu", "*.h"],
        "deconvnet.core.proto": ["*.proto"],
        "deconvnet.core.solver": ["*.prototxt"],
        "deconvnet.core.segmentation": ["*.html"],
        "deconvnet.core.prototxt": ["**/*.prototxt"],
    },
    include_package_data=False,
    cmdclass={"build_py": BuildWithKernels},
    distclass=PlatformDistribution,
)
