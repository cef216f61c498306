// The networks of the site's live page, run by onnxruntime-web: files of this site and no others.
"use strict";

globalThis.minranSource = {
  sessions: {},
  about: null, // networks.json: of each network its files (trained, random weights) and its modules
  async setup() {
    if (location.protocol === "file:") throw new Error("a browser fetches nothing for a page that was opened as a file. Serve the site's folder: python -m http.server");
    if (typeof WebAssembly === "undefined") throw new Error("this browser has no WebAssembly");
    const [setup, about, binary] = await Promise.all([
      this.file("setup.json").then((r) => r.json()),
      this.file("networks.json").then((r) => r.json()),
      this.file("runtime.wasm.gz").then((r) => new Response(r.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()),
    ]);
    this.about = about;
    ort.env.wasm.wasmBinary = binary;
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("./", location.href).href;
    return setup;
  },
  async file(name) {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`the site has no ${name}`);
    return response;
  },
  /** A network is fetched when it is first asked. */
  async session(file) {
    if (!this.sessions[file]) {
      const bytes = await (await this.file(file)).arrayBuffer();
      this.sessions[file] = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    }
    return this.sessions[file];
  },
  async ask({ pixels, network, random, channel, masks }) {
    const { files, modules } = this.about[network], session = await this.session(files[random ? 1 : 0]);
    const size = Math.round(Math.sqrt(pixels.length / 3));
    const feeds = { images: new ort.Tensor("uint8", pixels.slice(), [1, size, size, 3]) };
    for (const { name, steps } of modules) {
      const mask = steps.find((s) => s.key === "M"), own = masks[name];
      if (!mask) continue;
      const [rows, columns] = mask.shape;
      const values = own ? own.values.slice() : new Float32Array(rows * columns);
      feeds[`${name}/painted`] = new ort.Tensor("float32", values, [1, 1, rows, columns]);
      feeds[`${name}/use`] = new ort.Tensor("float32", new Float32Array([own ? 1 : 0]), []);
    }
    const found = await session.run(feeds);
    return {
      logits: [...found.logits.data],
      modules: modules.map(({ name, title, channels, steps }) => ({
        name, title, channels,
        steps: steps.map(({ key, equation, shape }) => ({
          key, shape,
          equation: key === "M" && masks[name] ? "M, painted by you" : equation,
          map: this.map(found[`${name}/${key}`].data, shape, channel),
        })),
      })),
    };
  },
  /** The mean over channels of maps (h, w, C), or one channel (the last, if it has fewer). */
  map(values, [rows, columns, channels], channel) {
    const out = new Float32Array(rows * columns), at = channel === null ? 0 : Math.min(channel, channels - 1);
    for (let k = 0; k < out.length; k++) {
      if (channel !== null) { out[k] = values[k * channels + at]; continue; }
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += values[k * channels + c];
      out[k] = sum / channels;
    }
    return { rows, columns, values: out };
  },
};
