"""Wrong command lines as data: what is typed, and a word that the sentence about it must have.

The folder they are typed in holds: `run` (a finished run of the shapes), `plain` (a run without
masks), `photo.png`, `text.txt`, `empty/` and `small.toml`.
"""

from __future__ import annotations

TRAIN = """
train | --recipe
train --recipe nowhere | nowhere
train --recipe cifar10-smal | did you mean 'cifar10-small'
train --recipe missing.toml | missing.toml
train --recipe text.txt | TOML
train --recipe '' | recipe
train --recipe photo.png | UTF-8
train --recipe empty | empty
train --recipe small.toml --resume run | not allowed
train --recipe small.toml --list | not allowed
train --list --quiet | --quiet
train --list --epochs 3 | --epochs
train --list --init run | --init
train --list --set seed=1 | --set
train --list --data-dir . | --data-dir
train --list --mirror http://x/ | --mirror
train --recipe small.toml --epochs two | two
train --recipe small.toml --set training.epochs=two | whole number
train --recipe small.toml --epochs -1 | epochs
train --recipe small.toml --epochs 0 | epochs
train --recipe small.toml --epochs 1.5 | 1.5
train --recipe small.toml --epochs 2 --set training.epochs=3 | training.epochs
train --recipe small.toml --epochs 2 --set training.iterations=3 | training.epochs
train --recipe small.toml --model no_such | no_such
train --recipe small.toml --model '' | model
train --recipe small.toml --model attention_nano --set model.name=attention_nano | model.name
train --recipe small.toml --data nowhere | nowhere
train --recipe small.toml --data folder:missing | missing
train --recipe small.toml --data folder: | folder
train --recipe small.toml --data folder:empty | empty
train --recipe small.toml --data '' | data
train --recipe small.toml --data shapes --data-dir . | --data-dir
train --recipe small.toml --data cifar10 --mirror here | --mirror
train --recipe small.toml --data cifar10 --mirror ftp://x/ | --mirror
train --recipe small.toml --data cifar10 --mirror '' | --mirror
train --recipe small.toml --data shapes --mirror http://x/ | --mirror
train --recipe small.toml --precision fp64 | fp64
train --recipe small.toml --no-capture | --no-capture
train --recipe small.toml --device tpu | tpu
train --recipe small.toml --set | --set
train --recipe small.toml --set seed | KEY=VALUE
train --recipe small.toml --set =1 | unknown entry
train --recipe small.toml --set seed=-1 | seed
train --recipe small.toml --set seed=1.5 | seed
train --recipe small.toml --set seed=1 --set seed=2 | seed
train --recipe small.toml --set no.such=1 | no
train --recipe small.toml --set optimizer.lrr=1 | optimizer.lr
train --recipe small.toml --set optimizer.lr=nan | optimizer.lr
train --recipe small.toml --set optimizer.lr=inf | optimizer.lr
train --recipe small.toml --set optimizer.lr=-1 | optimizer.lr
train --recipe small.toml --set optimizer.lr=fast | optimizer.lr
train --recipe small.toml --set optimizer.momentum=1 | optimizer.momentum
train --recipe small.toml --set optimizer=1 | optimizer
train --recipe small.toml --set seed.more=1 | seed
train --recipe small.toml --set training.batch_size=0 | training.batch_size
train --recipe small.toml --set training.precise_norm=-1 | training.precise_norm
train --recipe small.toml --set training.precise_norm=all | whole number
train --recipe small.toml --set training.label_smoothing=1 | training.label_smoothing
train --recipe small.toml --set training.ema=1 | training.ema
train --recipe small.toml --set training.ema=-0.1 | training.ema
train --recipe small.toml --set training.ema=yes | training.ema
train --recipe small.toml --set schedule.kind=poly | schedule.kind
train --recipe small.toml --set schedule.milestones=[3] | schedule.milestones
train --recipe small.toml --set schedule.factor=0.5 | schedule.factor
train --recipe small.toml --set schedule.kind=constant --set schedule.warmup=0.1 | schedule.warmup
train --recipe small.toml --set schedule.kind=multistep --set schedule.milestones=[1.5] | milestones
train --recipe small.toml --set model.options.colour=1 | colour
train --recipe small.toml --set model.options.seed=1 | seed
train --recipe small.toml --set data.label_noise=2 | data.label_noise
train --recipe small.toml --set data.std=0 | std
train --recipe small.toml --set data.size=0 | data.size
train --recipe small.toml --set data.size=5000 | data.size
train --recipe small.toml --set data.size=big | data.size
train --recipe small.toml --set data.size=15 | size
train --recipe small.toml --set data.size=64 --data cifar10 | data.size is 64, but cifar10
train --recipe small.toml --set data.fit=crop | data.fit
train --recipe small.toml --set data.fit=pad | data.fit would have no effect
train --recipe small.toml --set data.memory=-1 | data.memory
train --recipe small.toml --set data.memory=all | data.memory
train --recipe small.toml --set data.memory=2 | data.memory would have no effect
train --recipe small.toml --set data.mean=median | data.mean
train --recipe small.toml --set augment.kind=no | augment.kind
train --recipe small.toml --set augment.kind=imagenet --set augment.pad_crop_flip=false | no effect
train --recipe small.toml --set name=3 | name
train --recipe small.toml --force --name '' | name
train --recipe small.toml --runs text.txt | text.txt
train --recipe small.toml --init | --init
train --recipe small.toml --init nowhere | nowhere
train --recipe small.toml --init quikstart | did you mean 'quickstart'
train --recipe small.toml --init text.txt | text.txt
train --recipe small.toml --init photo.png | photo.png
train --recipe small.toml --init empty | empty
train --recipe small.toml --init attention56_cifar | training.init_least
train --recipe small.toml --init run --set training.init=run | training.init
train --recipe small.toml --init run --set training.init_least=1 | training.init_least
train --recipe small.toml --init run --set training.init_least=most | training.init_least
train --recipe small.toml --set training.init=3 | text
train --recipe small.toml --set training.init_least=0.2 | training.init
train --recipe small.toml --set training.freeze=stem | a list of texts
train --recipe small.toml --set training.freeze=[1] | a list of texts
train --recipe small.toml --set "training.freeze=['stam']" | did you mean stem
train --recipe small.toml --set "training.freeze=['stem','stages','tail','norm','fc']" | left
train --recipe small.toml --what | --what
train --recipe small.toml more | more
train --resume '' | run
train --resume nowhere | nowhere
train --resume text.txt | text.txt
train --resume empty | empty
train --resume run --epochs 0 | epochs
train --resume run --epochs -3 | epochs
train --resume run --epochs two | two
train --resume run --set training.iterations=1 | already
train --resume run --set optimizer.lr=99 | optimizer.lr
train --resume run --set seed=0 | seed
train --resume run --set name=other | name
train --resume run --set no.such=1 | no
train --resume run --set training.epoch=9 | training.epochs
train --resume run --set training.keep_every=1 | training.keep_every
train --resume run --set | --set
train --resume run --epochs 9 --set training.epochs=9 | training.epochs
train --resume run --epochs 9 --set training.iterations=9 | training.epochs
train --resume run --model attention_nano | --model
train --resume run --data shapes | --data
train --resume run --name run | --name
train --resume run --init run | --init
train --resume run --set "training.freeze=['fc']" | training.freeze
train --resume run --runs . | --runs
train --resume run --force | --force
train --resume run --precision fp32 | --precision
train --resume run --no-capture | --no-capture
train --resume run --data-dir . | --data-dir
train --resume run --mirror http://x/ | --mirror
train --resume run --seed 3 | --seed
train --resume run --device tpu | tpu
quickstart --out run | --force
quickstart --out text.txt | text.txt
quickstart --out empty/../plain | plain
quickstart --set training.epochs=none | training.epochs
quickstart --set seed | KEY=VALUE
quickstart --set data.name=nowhere | nowhere
quickstart --force --set data.name=cifar11 | cifar11
quickstart --device tpu | tpu
quickstart more | more
evaluate | checkpoint
evaluate nowhere | nowhere
evaluate '' | checkpoint
evaluate text.txt | text.txt
evaluate photo.png | photo.png
evaluate empty | empty
evaluate run --data nowhere | nowhere
evaluate run --data folder:empty | empty
evaluate run --data-dir . | --data-dir
evaluate run --size 64 | mean of each pixel
evaluate run --size 0 | --size
evaluate run --size big | big
evaluate run --mirror http://x/ | --mirror
evaluate run --device tpu | tpu
evaluate run --dark | --dark
evaluate run --out x.gif | .png
evaluate run --mistakes x.gif | --mistakes
evaluate run --mistakes empty | folder
evaluate run --out empty | folder
evaluate run --out x.bmp --dark | .png
evaluate run run | run
"""

LOOK = """
models more | more
models --what | --what
summary | model
summary attention57 | did you mean 'attention56
summary '' | model
summary attention_nano --depth -1 | depth
summary attention_nano --depth two | two
summary attention_nano --num-classes 0 | num_classes
summary attention_nano --num-classes x | x
summary attention_nano --size 0 | --size
summary attention56 --size 20 | 31 pixels a side or more
summary attention56 --size 20 --train | 31 pixels a side or more
summary attention_nano --train --batch 0 | --batch
summary attention_nano --batch 8 | without --train does not take --batch
summary attention_nano --device gpu | without --train does not take --device
summary attention_nano --train --depth 2 | --train does not take --depth
summary attention_nano --train --device tpu | tpu
graph | model
graph attention57 | attention56
graph attention_nano --depth -1 | depth
graph attention_nano --depth x | x
graph attention_nano --out net.png | .svg
graph attention_nano --out net | .svg
graph attention_nano --out '' | --out
graph attention_nano --out empty | folder
graph attention_nano --out missing/net.svg | missing
predict | checkpoint
predict run | files
predict nowhere photo.png | nowhere
predict run missing.png | missing.png
predict run text.txt | text.txt
predict run empty | could not read
predict run '' | files
predict run photo.png --top 0 | --top must be at least 1
predict run photo.png --top x | x
predict run photo.png --dark | --dark
predict run photo.png --out x.xyz | .png
predict run photo.png --out '' | --out
predict run photo.png --out empty | folder
predict run photo.png --out missing/x.png | missing
predict run photo.png --out photo | .png
predict run photo.png --device tpu | tpu
export | checkpoint
export nowhere | nowhere
export run --out '' | --out
export run --out model.pth | .onnx
export run --out model | .onnx
export run --out missing/model.onnx | missing
export run --out empty | folder
export text.txt --prepared | text.txt
live nowhere --no-browser | there is no run, file or shipped weights 'nowhere'
live quickstrt --no-browser | did you mean 'quickstart'
live text.txt --no-browser | text.txt
live empty --no-browser | empty
live plain --no-browser | attention module
live run missing.png --no-browser | missing.png
live run text.txt --no-browser | text.txt
live run --no-browser --port -1 | --port must be 0 to 65535, got -1
live run --no-browser --port 65536 | --port must be 0 to 65535
live run --no-browser --port http | http
live run --no-browser --device tpu | tpu
masks | checkpoint
masks nowhere | there is no checkpoint nowhere
masks run missing.png | missing.png
masks run --count 0 | --count must be at least 1
masks run --count x | x
masks run --data-dir . | --data-dir
masks run --mirror http://x/ | --mirror
masks run photo.png --data-dir . | --data-dir
masks run photo.png --mirror http://x/ | --mirror
masks run --figure heat | heat
masks run --figure histograms --channels 99 | --channels
masks run --figure histograms --rule mean | --rule
masks run --figure histograms --top 2 | --top
masks run --figure histograms --also run | --also
masks run --figure before-after --channels 0,1,2 | --channels
masks run --figure before-after --rule mean | --rule
masks run --figure before-after --top 2 | --top
masks run --figure before-after --also run | --also
masks run --figure before-after --channels 9999 | 9999
masks run --figure epochs | training.keep_every=1
masks run --figure epochs --channels 1 | --channels
masks run --figure epochs --also nowhere | nowhere
masks run --figure epochs --also '' | --also
masks run --also run | --also
masks run --top 2 | --top
masks run --rule best | best
masks run --rule mean --channels 1 | --rule
masks run --channels 1 --top 3 | --top
masks run --channels 9999 | channels from 0 to
masks run --channels -1 | -1
masks run --channels a,b | --channels wants whole numbers
masks run --channels '' | --channels
masks run --rule mean --top 0 | count must be 1 to
masks run --rule mean --top x | x
masks run --stages 9 | masks in stages 1, 2
masks run --stages x | --stages
masks run --stages '' | --stages
masks run --pictures 100 | --pictures
masks run --score --figure masks | --figure
masks run --score --channels 1 | --channels
masks run --score --stretch | --stretch
masks run --figure histograms --stretch | --stretch
masks run --figure before-after --stretch | --stretch
masks run --score --stages 1 | --stages
masks run --score --count 3 | --count
masks run --score --dark | --dark
masks run --score --out x.png | --out
masks run --score --also run | --also
masks run --score --pictures 1 | at least 4 images
masks run --score --pictures x | x
masks run photo.png --score | only the built-in shapes have
masks run --out x.xyz | .png
masks run --out '' | --out
masks run --out empty | folder
masks run --out missing/x.png | missing
masks run --dark --out x | .png
masks plain | mask
masks run --device tpu | tpu
gradcam | checkpoint
gradcam nowhere | nowhere
gradcam run missing.png | missing.png
gradcam run --class unicorn | no class 'unicorn'; known: disc
gradcam run --class '' | --class
gradcam run --layer no.such | no module called 'no.such'
gradcam run --layer fc | maps
gradcam run --count -1 | --count
gradcam run --rule mean | --rule
gradcam missing --stretch | missing
gradcam run --out x.jpeg | .png
gradcam run --out empty | folder
gradcam run --data-dir . | --data-dir
gradcam run --mirror http://x/ | --mirror
gradcam run --dark --out x.gif | .png
gradcam run --device tpu | tpu
"""

REST = """
 | COMMAND
nonsense | nonsense
--nonsense | COMMAND
--debug | COMMAND
--version=3 | version
runs nowhere | nowhere
runs text.txt | text.txt
runs run plain | plain
plot | runs
plot nowhere | nowhere
plot run nowhere | nowhere
plot empty | empty
plot '' | runs
plot run --out x.xyz | .png
plot run --out '' | --out
plot run --out x | .png
plot run --out empty | folder
plot run --out missing/x.png | missing
gradcheck | --all
gradcheck conv3d | conv3d
gradcheck conv2d --all | op
gradcheck conv2d gate | gate
gradcheck gate --seed -1 | seed
gradcheck --all --seed -1 | seed
gradcheck gate --seed x | x
gradcheck gate --device tpu | tpu
gradcheck '' | op
ablate | NAME
ablate table2 | table2
ablate table1 --seeds 0 | at least one seed
ablate table1 --seeds x | x
ablate table1 --scale huge | huge
ablate table1 --set seed=1 | --seeds
ablate table1 --set no.such=1 | no
ablate table1 --set optimizer.lrr=1 | optimizer.lr
ablate table1 --set training.epochs=1 --set training.epochs=2 | training.epochs
ablate table1 --data-dir . | --data-dir
ablate table1 --mirror http://x/ | --mirror
ablate table1 --list --force | --force
ablate table1 --list --quiet | --quiet
ablate table1 --list --data-dir . | --data-dir
ablate table1 --list --mirror http://x/ | --mirror
ablate table1 --list --device cpu | --device
ablate table1 --out text.txt | text.txt
bench --model attention57 | attention57
bench --rounds 0 | --rounds
bench --static --model attention57 | attention57
bench --static --batch 0 | --batch
bench --static --rounds 3 | --rounds
bench --static --precision fp32 | fp32
bench --static --json counts.txt | .json
bench --warmup 0 | --warmup
bench --threads 0 | --threads
bench --processes 0 | --processes
bench --batch 0 | --batch
bench --batch x | x
bench --jobs sleep | sleep
bench --only caffe | caffe
bench --precision bf16 | --precision
bench --budget 3 | --budget
bench --limit x | x
bench --patience x | x
bench --extra-rounds x | x
bench --jobs import --model attention_nano | --model
bench --jobs import --batch 8 | --batch
bench --jobs data --processes 2 | --processes
bench --scaling --batch 8 | --batch
bench --scaling --model attention_nano | --model
bench --ops --model attention_nano | --model
bench --ops --batch 8 16 | --batch
bench --peers --model attention_nano | --model
bench --decisions --model attention_nano attention56_cifar | --model
bench --cores 0 | --cores
bench --cores 2 --threads 2 | --threads
bench --cores 2 --processes 2 | --processes
bench --cores 2 --model attention_nano attention56_cifar | --model
bench --device gpu --ops | --ops
bench --device gpu --patience 3 | --patience
bench --json x.txt | .json
bench --json '' | --json
bench --plot x.json | .png
bench --device tpu | tpu
course | PART
course nonsense | nonsense
course list --notebooks missing | missing
course build | --pair
course build --notebooks missing --pair | missing
course build --check --out x | --out
course grade | NOTEBOOK
course grade missing.ipynb | missing.ipynb
course grade text.txt --json | text.txt
course grade missing.ipynb --source missing | missing
course grade missing.ipynb --timeout x | x
course grade missing.ipynb --cell-timeout x | x
course grade missing.ipynb --memory x | x
course grade missing.ipynb --notebook x | a notebook's number is like 03 or 00b
course grade missing.ipynb --notebook 003 | a notebook's number is like 03 or 00b
course grade missing.ipynb --notebook 3bb | a notebook's number is like 03 or 00b
course grade missing.ipynb --notebook '' | --notebook is empty
course grade missing.ipynb --jobs 0 | --jobs
course grade missing.ipynb --jobs many | many
course grade missing.ipynb --out text.txt | text.txt
course grade missing.ipynb --out '' | --out is empty
course grade missing.ipynb --csv marks.txt | --csv
course grade missing.ipynb --csv nowhere/marks.csv | nowhere
course grade missing.ipynb --csv empty | --csv
course grade missing.ipynb --worksheet text.txt | --worksheet
course grade missing.ipynb --csv marks.csv --worksheet text.txt | text.txt
course grade missing.ipynb --csv marks.csv --worksheet missing.csv | missing.csv
course exam --seed -1 | --seed
course exam --seed three | three
course exam --questions gate,gaet | gaet
course exam --questions gate,gate | twice
course exam --questions '' | --questions is empty
course exam --out text.txt | text.txt
course exam --out '' | --out is empty
course slides --week 13 | --week
course slides --week one | one
course slides --week 2 --pdf --out '' | --out is empty
course slides --out text.txt | text.txt
course slides --notebooks missing | missing
"""


def rows() -> list[tuple[str, str]]:
    """(command line, word) of every row."""
    lines = [line for part in (TRAIN, LOOK, REST) for line in part.strip("\n").split("\n")]
    pairs = [line.rpartition(" | ") for line in lines]
    return [(command.strip(), word.strip()) for command, _, word in pairs] + DEEP


def _deep(key: str, kind: str) -> str:
    opening, closing = {"list": "[]", "table": ("{a=", "}")}[kind]
    return f"train --recipe small.toml --set {key}={opening * 3000}{closing * 3000}"


DEEP = [
    (_deep("model.options", "list"), "model.options"),
    (_deep("model.options", "table"), "model.options"),
    (_deep("schedule.milestones", "list"), "milestones"),
    ("train --recipe small.toml --set seed=" + "9" * 5000, "seed"),
    ("train --recipe small.toml --set optimizer.lr=" + "9" * 5000, "optimizer.lr"),
    ("train --recipe small.toml --name " + "a" * 300, "name"),
    ("train --recipe small.toml --name a\udcff", "name"),
    ("train --recipe small.toml --data folder:\udcff", "data"),
    ("predict run \udcff.png", "png"),
    ("plot \udcff", "history"),
]
"""Deep nesting, numbers without end, letters that are no letters."""
