"""Model packs: what they are, where their files lie, how they are verified and fetched."""

from faceinsight.packs.locate import AUTO, ResolvedPack, home, load_spec, pack_hash, pack_names, resolve
from faceinsight.packs.spec import DetectorSpec, FaceModelSpec, ModelFile, PackSpec

__all__ = [
    "AUTO",
    "DetectorSpec",
    "FaceModelSpec",
    "ModelFile",
    "PackSpec",
    "ResolvedPack",
    "home",
    "load_spec",
    "pack_hash",
    "pack_names",
    "resolve",
]
