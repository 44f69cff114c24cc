#!/bin/sh
# image.sh SOURCE ROOT: makes the container's files. The Dockerfile runs it, and so does `make test-image`.
#
# It runs as root in a bare Debian 12, and writes to ROOT all that the container holds: Python and the libraries that
# wheels need, taken out of Debian's packages (no shell, no package manager), the packages of uv.lock, and FaceInsight.
set -eu

source=$1 root=$2
app=/opt/faceinsight
uv_version=0.13.9
debian="base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 libpython3.11-minimal
    libpython3.11-stdlib libsqlite3-0 libssl3 libstdc++6 libuuid1 media-types netbase python3-minimal python3.11-minimal
    zlib1g"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends binutils ca-certificates python3-venv >/dev/null

# The packages, as uv.lock pins them; pyarrow, for tables of `analyze`, is as large as a quarter of all else.
[ -x /opt/uv/bin/uv ] || { python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==$uv_version"; }
mkdir -p "$app"
cp -r "$source/pyproject.toml" "$source/uv.lock" "$source/app.py" "$source/faceinsight" "$source/assets" "$app/"
cd "$app"
UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never /opt/uv/bin/uv sync --quiet --frozen --no-dev --no-install-project \
    --python /usr/bin/python3 --no-install-package pyarrow --no-install-package hf-xet
rm -rf pyproject.toml uv.lock assets/screenshots

# What the page asks nothing of: tests, sources for compilers, parts of libraries that others need, Gradio's second server,
# its editor of videos, its charts and its samples. What is missed all the same, the test of the image finds.
cd "$app"/.venv/lib/python3*/site-packages
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f \( -name "*.pyx" -o -name "*.pxd" -o -name "*.h" -o -name "*.c" -o -name "*.cpp" \) -delete
rm -rf networkx onnx/backend/test insightface/gui insightface/data/images
(cd scipy && rm -rf cluster integrate interpolate io odr signal stats)
(cd skimage && rm -rf data draw feature filters graph measure morphology restoration segmentation)
(cd onnxruntime && rm -rf quantization tools transformers)
(cd gradio && rm -rf media_assets templates/node templates/frontend/static/ffmpeg templates/frontend/static/bokeh \
    templates/frontend/assets/PlotlyPlot-* templates/frontend/assets/AltairPlot-*)
"$app/.venv/bin/python" - <<'PYTHON'
import ctypes, os, pathlib, subprocess

# Only what still loads: strip breaks some libraries whose headers a wheel's maker has moved.
for path in sorted(pathlib.Path().rglob("*.cpython-*.so")):
    small = path.with_suffix(".small")
    try:
        subprocess.run(["strip", "--strip-unneeded", "-o", small, path], check=True, stderr=subprocess.DEVNULL)
        ctypes.CDLL(str(small.resolve()))
        os.replace(small, path)
    except (OSError, subprocess.CalledProcessError):
        small.unlink(missing_ok=True)
PYTHON

# Bytecode of what is imported at the start, which a read-only container cannot write.
cd "$app"
find . -name __pycache__ -prune -exec rm -rf {} +
HOME=/tmp PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -c '
import pathlib, py_compile, sys
import faceinsight.analyzer, faceinsight.cli, faceinsight.clips, faceinsight.media.worker, faceinsight.stream
import faceinsight.ui.serve, faceinsight.ui.workers
import uvicorn.protocols.http.auto, uvicorn.loops.auto, uvicorn.lifespan.on
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
ours = [str(path) for path in pathlib.Path("faceinsight").rglob("*.py")]
imported = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
for path in {*ours, *imported}:
    if path.endswith(".py"):
        py_compile.compile(path, invalidation_mode=mode, quiet=1)
'

# The root: Debian files without documentation, then ours, for a user without a name in it.
mkdir -p "$root/tmp" "$root/models" "$root/packages"
chmod 1777 "$root/tmp"
chown 10001:10001 "$root/models"
(cd "$root/packages" && chmod 777 . && apt-get download -qq $debian)
for package in "$root"/packages/*.deb; do
    dpkg-deb --extract "$package" "$root"
done
(cd "$root/usr/lib/python3.11" && rm -rf distutils ensurepip idlelib lib2to3 pydoc_data test turtledemo)
rm -rf "$root/packages" "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/lintian \
    "$root"/usr/share/ca-certificates "$root"/usr/lib/*/gconv
mkdir -p "$root/etc/ssl/certs" "$root$app"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/sbin/nologin\nfaceinsight:x:10001:10001::/tmp:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nfaceinsight:x:10001:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
cp -a "$app/." "$root$app/"
# The standard library, whose bytecode Debian makes when it is installed.
"$app/.venv/bin/python" - "$root/usr/lib/python3.11" <<'PYTHON'
import compileall, py_compile, sys

compileall.compile_dir(sys.argv[1], quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
PYTHON
