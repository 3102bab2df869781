# speechvq on a CPU: the commands, and the page.
#
#   docker build -t speechvq .
#   docker run --rm -v "$PWD:/data" speechvq convert my.wav as-p225.wav --speaker p225
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY . /src
# uv takes the CPU build of torch from PyTorch's own index: no CUDA in the image.
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache --torch-backend cpu "/src[formats]" && rm -rf /src
RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["speechvq"]
