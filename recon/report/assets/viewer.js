// A small WebGL viewer: orbit, zoom, move; surface, wireframe or vertices; errors in colour. No library, no network.
// Its state is written to data-attributes (data-state, data-painted, data-shades), for tests and for the curious.
"use strict";

(() => {
  const VERTEX = `
    attribute vec3 position; attribute vec3 normal; attribute vec3 color;
    uniform mat4 view; uniform mat4 projection; uniform vec3 low; uniform float size; uniform float dot;
    varying vec3 vNormal; varying vec3 vColor; varying vec3 vEye;
    void main() {
      vec4 eye = view * vec4(low + position * size, 1.0);
      vNormal = mat3(view) * normal; vColor = color; vEye = eye.xyz;
      gl_Position = projection * eye; gl_PointSize = max(1.5, dot / -eye.z);
    }`;
  const FRAGMENT = `
    precision mediump float;
    varying vec3 vNormal; varying vec3 vColor; varying vec3 vEye;
    uniform vec3 tint; uniform float tinted; uniform float lit; uniform float round;
    void main() {
      if (round > 0.5 && length(gl_PointCoord - 0.5) > 0.5) discard;
      vec3 base = mix(vColor, tint, tinted);
      if (lit < 0.5) { gl_FragColor = vec4(base, 1.0); return; }
      vec3 n = normalize(vNormal);
      if (!gl_FrontFacing) { n = -n; if (tinted > 0.5) base = vec3(0.69, 0.47, 0.41); }
      float head = max(dot(n, normalize(-vEye)), 0.0);
      float key = max(dot(n, normalize(vec3(-0.45, 0.65, 0.61))), 0.0);
      float light = tinted > 0.5 ? 0.10 + 0.40 * head + 0.56 * key : 0.58 + 0.28 * head + 0.18 * key;
      float gloss = pow(max(dot(n, normalize(normalize(-vEye) + vec3(-0.45, 0.65, 0.61))), 0.0), 40.0);
      gl_FragColor = vec4(pow(pow(base, vec3(2.2)) * light + gloss * 0.06, vec3(1.0 / 2.2)), 1.0);
    }`;
  const CLAY = [0.79, 0.76, 0.72], INK = [0.27, 0.40, 0.58], FIELD = 24 * Math.PI / 180;
  const HOME = { azimuth: 30, elevation: 18, distance: 1.08 / Math.sin(FIELD / 2), x: 0, y: 0 };

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;

  function program(gl) {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(made, shader);
    }
    ["position", "normal", "color"].forEach((name, place) => gl.bindAttribLocation(made, place, name));
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    gl.useProgram(made);
    return new Proxy({}, { get: (known, name) => known[name] ??= gl.getUniformLocation(made, name) });
  }

  function upload(gl, data, target) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, data, gl.STATIC_DRAW);
    return buffer;
  }

  function edges(index) {
    const lines = new Uint32Array(index.length * 2);
    for (let i = 0, o = 0; i < index.length; i += 3) {
      for (const [a, b] of [[0, 1], [1, 2], [2, 0]]) { lines[o++] = index[i + a]; lines[o++] = index[i + b]; }
    }
    return lines;
  }

  function padded(data, width) { // GPUs want attributes of 3 small numbers on 4-byte bounds
    const wide = new data.constructor(data.length / 3 * width);
    for (let i = 0, o = 0; i < data.length; i += 3, o += width) wide.set(data.subarray(i, i + 3), o);
    return wide;
  }

  function axes(camera, up) { // rows: right, up, backward; the same convention as recon/report/camera.py
    const a = camera.azimuth * Math.PI / 180, e = camera.elevation * Math.PI / 180;
    const [ea, no, hi, fl] = [Math.sin(a), Math.cos(a), Math.sin(e), Math.cos(e)];
    const rows = [[no, 0, -ea], [-ea * hi, fl, -no * hi], [ea * fl, hi, no * fl]];
    return up === "y" ? rows : rows.map(([x, y, z]) => [x, -z, y]);
  }

  function viewMatrix(camera, up) {
    const [r, u, b] = axes(camera, up);
    return new Float32Array([r[0], u[0], b[0], 0, r[1], u[1], b[1], 0, r[2], u[2], b[2], 0,
      camera.x, camera.y, -camera.distance, 1]);
  }

  function projectionMatrix(aspect, distance) {
    const f = 1 / Math.tan(FIELD / 2) * Math.min(1, aspect), near = Math.max(0.02, distance - 3), far = distance + 3;
    return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1,
      0, 0, 2 * far * near / (near - far), 0]);
  }

  function start(box) {
    const canvas = box.querySelector("canvas");
    const data = JSON.parse(box.querySelector("script").textContent);
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
    if (!gl) throw new Error("This browser offers no WebGL 2");
    const place = program(gl);
    const index = new Uint32Array(bytes(data.index));
    const mesh = {
      position: upload(gl, padded(new Uint16Array(bytes(data.position)), 4), gl.ARRAY_BUFFER),
      normal: upload(gl, padded(new Int8Array(bytes(data.normal)), 4), gl.ARRAY_BUFFER),
      faces: upload(gl, index, gl.ELEMENT_ARRAY_BUFFER),
      lines: null,
      count: new Uint16Array(bytes(data.position)).length / 3,
    };
    for (const name of ["color", "error"]) {
      if (data[name]) mesh[name] = upload(gl, padded(new Uint8Array(bytes(data[name])), 4), gl.ARRAY_BUFFER);
    }
    const cloud = data.points ? new Uint16Array(bytes(data.points)) : null;
    const cloudBuffer = cloud && upload(gl, padded(cloud, 4), gl.ARRAY_BUFFER);
    const camera = { ...HOME };
    const shown = { mode: "surface", error: Boolean(data.error), points: false };

    function attribute(at, buffer, type) {
      if (!buffer) { gl.disableVertexAttribArray(at); gl.vertexAttrib3f(at, 1, 1, 1); return; }
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, type, true, type === gl.UNSIGNED_SHORT ? 8 : 4, 0);
    }

    function style(color, lit, round, dot) {
      gl.uniform1f(place.tinted, color ? 1 : 0);
      if (color) gl.uniform3fv(place.tint, color);
      gl.uniform1f(place.lit, lit); gl.uniform1f(place.round, round); gl.uniform1f(place.dot, dot);
    }

    function drawMesh(height) {
      const colors = shown.error ? mesh.error : mesh.color;
      attribute(0, mesh.position, gl.UNSIGNED_SHORT);
      attribute(1, mesh.normal, gl.BYTE);
      attribute(2, colors, gl.UNSIGNED_BYTE);
      if (shown.mode === "vertices") {
        style(colors ? null : INK, 0, 1, 0.07 * height);
        gl.drawArrays(gl.POINTS, 0, mesh.count);
        return;
      }
      const wire = shown.mode === "wire";
      gl.enable(gl.POLYGON_OFFSET_FILL);
      gl.polygonOffset(1, 1);
      style(colors ? null : CLAY, 1, 0, 1);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.faces);
      gl.drawElements(gl.TRIANGLES, index.length, gl.UNSIGNED_INT, 0);
      if (!wire) return;
      mesh.lines ??= upload(gl, edges(index), gl.ELEMENT_ARRAY_BUFFER);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.lines);
      style([0.10, 0.12, 0.16], 0, 0, 1);
      gl.drawElements(gl.LINES, index.length * 2, gl.UNSIGNED_INT, 0);
    }

    function draw() {
      const ratio = Math.min(devicePixelRatio || 1, 2);
      const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.enable(gl.DEPTH_TEST);
      gl.uniformMatrix4fv(place.view, false, viewMatrix(camera, data.up));
      gl.uniformMatrix4fv(place.projection, false, projectionMatrix(width / height, camera.distance));
      gl.uniform3fv(place.low, data.low);
      gl.uniform1f(place.size, data.size);
      drawMesh(height);
      if (shown.points && cloud) {
        attribute(0, cloudBuffer, gl.UNSIGNED_SHORT);
        attribute(1, null); attribute(2, null);
        style([0.86, 0.30, 0.18], 0, 1, 0.05 * height);
        gl.drawArrays(gl.POINTS, 0, cloud.length / 3);
      }
    }

    // The first frame is read back: a driver that paints nothing should end in a sentence, not in a blank box.
    function check() {
      const width = 160, height = 100, small = document.createElement("canvas"), shades = new Set();
      Object.assign(small, { width, height });
      const copy = small.getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0, width, height);
      const pixels = copy.getImageData(0, 0, width, height).data;
      let painted = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3]) { painted += 1; shades.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]); }
      }
      box.dataset.painted = (painted / (width * height)).toFixed(4);
      box.dataset.shades = shades.size;
      if (shades.size < 2) throw new Error("The graphics driver painted nothing");
      box.dataset.state = "painted";
    }

    let waiting = false;
    const again = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    };
    const turn = (dx, dy) => {
      camera.azimuth -= dx;
      camera.elevation = Math.max(-90, Math.min(90, camera.elevation + dy));
      again();
    };
    const move = (dx, dy) => { // by shares of the canvas height
      const reach = 2 * camera.distance * Math.tan(FIELD / 2);
      camera.x += dx * reach; camera.y -= dy * reach;
      again();
    };
    const zoom = (factor) => {
      camera.distance = Math.max(0.3, Math.min(40, camera.distance * factor));
      again();
    };

    const fingers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY, height = canvas.clientHeight;
      if (fingers.size === 2) {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const gap = (e) => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY);
        zoom(gap(before) / Math.max(1, gap(event)));
        move(dx / 2 / height, dy / 2 / height);
      } else if (event.shiftKey || event.buttons & 6) move(dx / height, dy / height);
      else turn(dx * 0.4, dy * 0.4);
      fingers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * 0.0015));
    }, { passive: false });

    const reset = () => { Object.assign(camera, HOME); again(); };
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const arrow = ARROWS[event.key];
      if (arrow && event.shiftKey) move(arrow[0] * 0.04, arrow[1] * 0.04);
      else if (arrow) turn(-arrow[0] * 6, -arrow[1] * 6);
      else if (event.key === "+" || event.key === "=") zoom(0.88);
      else if (event.key === "-") zoom(1 / 0.88);
      else if (event.key.toLowerCase() === "r") reset();
      else return;
      event.preventDefault();
    });
    box.querySelector("[data-action=reset]").addEventListener("click", reset);
    for (const button of box.querySelectorAll("[data-mode]")) {
      button.addEventListener("click", () => {
        shown.mode = button.dataset.mode;
        for (const each of box.querySelectorAll("[data-mode]")) each.setAttribute("aria-pressed", each === button);
        again();
      });
    }
    for (const input of box.querySelectorAll("[data-switch]")) {
      shown[input.dataset.switch] = input.checked;
      input.addEventListener("change", () => { shown[input.dataset.switch] = input.checked; again(); });
    }
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      sentence(box, "The browser took the graphics context away");
    });
    new ResizeObserver(again).observe(canvas);
    draw();
    check();
  }

  function sentence(box, why) {
    box.dataset.state = "failed";
    box.querySelector("canvas").hidden = true;
    const text = box.querySelector(".viewer-sentence");
    text.hidden = false;
    text.textContent = `${why}, so the interactive view is not shown. The pictures on this page show the same mesh.`;
  }

  for (const box of document.querySelectorAll(".viewer")) {
    try { start(box); } catch (error) { sentence(box, error.message); }
  }
})();
