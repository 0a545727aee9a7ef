"use strict";
// The player: everything is computed from the activity and direction per label frame, class and track that the page holds.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const COLOUR = data.colours.status, CLASS = data.colours.classes;
  const STATUS = ["correct", "misplaced", "false", "missed"];
  const [CORRECT, MISPLACED, FALSE, MISSED] = [0, 1, 2, 3];
  const RAD = Math.PI / 180, FRAME = data.frame_s, DURATION = data.duration_s, COUNT = data.frames;
  const CLASSES = data.classes.length, hasReference = data.reference !== null;

  // ---- data: little-endian arrays in base64 ---------------------------------------------------------------------------
  function bytes(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }
  const array = (text, Type) => new Type(bytes(text).buffer);
  const cells = {
    key: array(data.cells.key, Uint32Array),
    activity: array(data.cells.activity, Float64Array),
    azimuth: array(data.cells.azimuth_deg, Float32Array),
    elevation: array(data.cells.elevation_deg, Float32Array),
  };
  const TRACKS = data.cells.tracks;

  // ---- directions -------------------------------------------------------------------------------------------------------
  const wrap = (azimuth) => { const w = (((azimuth + 180) % 360) + 360) % 360 - 180; return w >= 180 ? w - 360 : w; };
  function vector(azimuth, elevation) {
    const c = Math.cos(elevation * RAD);
    return [c * Math.cos(azimuth * RAD), c * Math.sin(azimuth * RAD), Math.sin(elevation * RAD)];
  }
  function angleBetween(az1, el1, az2, el2) {
    const a = vector(az1, el1), b = vector(az2, el2);
    const x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    return Math.atan2(Math.hypot(x, y, z), a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / RAD;
  }

  // ---- threshold and merge: tested against the Python of the project --------------------------------------------------
  // found: active tracks of one frame and class, in track order; gives the rows of the frame and class.
  function unified(found) {
    let top = found[0], weight = 0, azimuth = 0, elevation = 0;
    for (const one of found) if (one.r > top.r) top = one;
    for (const one of found) {
      weight += one.r;
      azimuth += one.r * (top.az + wrap(one.az - top.az)); // within 180 degrees of the most active track
      elevation += one.r * one.el;
    }
    return { r: top.r, az: wrap(azimuth / weight), el: elevation / weight };
  }
  function merged(found, unificationDeg) {
    if (found.length < 2) return found;
    const pairs = [];
    for (let i = 0; i < found.length; i++) for (let j = i + 1; j < found.length; j++) {
      if (angleBetween(found[i].az, found[i].el, found[j].az, found[j].el) < unificationDeg) pairs.push([i, j]);
    }
    if (!pairs.length) return found;
    // tracks joined by a chain of similar pairs become one row
    const group = found.map((_, i) => i);
    for (const [i, j] of pairs) {
      const [from, to] = [Math.max(group[i], group[j]), Math.min(group[i], group[j])];
      for (let k = 0; k < group.length; k++) if (group[k] === from) group[k] = to;
    }
    return [...new Set(group)].map((g) => {
      const members = found.filter((_, k) => group[k] === g);
      return members.length === 1 ? members[0] : unified(members);
    });
  }
  function events(thresholds) {
    const frame = [], cls = [], az = [], el = [], act = [];
    let i = 0;
    const n = cells.key.length;
    while (i < n) {
      const place = Math.floor(cells.key[i] / TRACKS), found = [], c = place % CLASSES;
      for (; i < n && Math.floor(cells.key[i] / TRACKS) === place; i++) {
        if (cells.activity[i] > thresholds[c]) {
          found.push({ r: cells.activity[i], az: cells.azimuth[i], el: cells.elevation[i] });
        }
      }
      for (const one of merged(found, data.unification_deg)) {
        frame.push((place - c) / CLASSES); cls.push(c); az.push(one.az); el.push(one.el); act.push(one.r);
      }
    }
    return table(frame, cls, az, el, act);
  }
  function table(frame, cls, az, el, act) {
    const n = frame.length;
    const made = {
      n, frame: Int32Array.from(frame), cls: Int16Array.from(cls), az: Float64Array.from(az), el: Float64Array.from(el),
      act: act ? Float64Array.from(act) : null, status: new Uint8Array(n), partner: new Int32Array(n).fill(-1), angle: new Float32Array(n).fill(NaN),
      first: new Int32Array(COUNT + 1),
    };
    for (let i = 0; i < n; i++) if (made.frame[i] < COUNT) made.first[made.frame[i] + 1]++;
    for (let f = 0; f < COUNT; f++) made.first[f + 1] += made.first[f];
    return made;
  }

  // ---- optimal assignment per frame and class --------------------------------------------------------------------------
  function assign(cost) { // rows <= columns; every row gets a column, the sum is smallest
    let best = Infinity, choice = null;
    const rows = cost.length, columns = cost[0].length, taken = new Array(columns).fill(false), now = [];
    (function place(row, sum) {
      if (sum >= best) return;
      if (row === rows) { best = sum; choice = now.slice(); return; }
      for (let c = 0; c < columns; c++) if (!taken[c]) {
        taken[c] = true; now.push(c); place(row + 1, sum + cost[row][c]); now.pop(); taken[c] = false;
      }
    })(0, 0);
    return choice;
  }
  function match(ref, est) {
    ref.status.fill(MISSED); ref.partner.fill(-1); est.status.fill(FALSE); est.partner.fill(-1); est.angle.fill(NaN);
    for (let f = 0; f < COUNT; f++) {
      const byClass = new Map();
      for (let i = ref.first[f]; i < ref.first[f + 1]; i++) (byClass.get(ref.cls[i]) || byClass.set(ref.cls[i], [[], []]).get(ref.cls[i]))[0].push(i);
      for (let i = est.first[f]; i < est.first[f + 1]; i++) if (byClass.has(est.cls[i])) byClass.get(est.cls[i])[1].push(i);
      for (const [refs, ests] of byClass.values()) {
        if (!ests.length) continue;
        const swap = refs.length > ests.length, [rows, columns] = swap ? [ests, refs] : [refs, ests];
        const cost = rows.map((i) => columns.map((j) => {
          const [r, e] = swap ? [j, i] : [i, j];
          return angleBetween(ref.az[r], ref.el[r], est.az[e], est.el[e]);
        }));
        assign(cost).forEach((column, row) => {
          const [r, e] = swap ? [columns[column], rows[row]] : [rows[row], columns[column]];
          ref.partner[r] = e; est.partner[e] = r; est.angle[e] = cost[row][column];
          ref.status[r] = est.status[e] = cost[row][column] <= data.within_deg ? CORRECT : MISPLACED;
        });
      }
    }
  }

  const ref = hasReference
    ? table(array(data.reference.frame, Uint32Array), array(data.reference.class_index, Uint16Array),
            array(data.reference.azimuth_deg, Float64Array), array(data.reference.elevation_deg, Float64Array), null)
    : table([], [], [], [], null);
  ref.source = hasReference ? array(data.reference.source, Int32Array) : new Int32Array(0);
  const boxes = data.boxes && {
    time: array(data.boxes.time_s, Float32Array), box: array(data.boxes.boxes, Int16Array), end: data.boxes.end_s, per: data.boxes.per,
  };

  // ---- state -------------------------------------------------------------------------------------------------------------
  const hasVideo = data.media !== null && data.media.video;
  const state = {
    thresholds: data.thresholds.slice(), hidden: new Set(), est: null, tally: null,
    view: hasVideo ? "picture" : "sphere", colour: hasReference ? "match" : "class",
    show: { reference: hasReference, prediction: true, boxes: boxes !== null, labels: true },
    from: 0, to: DURATION > 120 ? Math.min(60, DURATION) : DURATION, yaw: -28, pitch: 24,
    look: { azimuth: 0, elevation: 0, fov: 95 },
  };
  const rowsOfClass = new Set(); // classes that have a row in the roll: in the reference, or predicted at the run's thresholds

  // ---- the clock: a media element, or time itself ------------------------------------------------------------------------
  let media = null;
  const silent = { at: 0, since: null, rate: 1 };
  const clock = {
    get time() {
      if (media) return Math.min(media.currentTime, DURATION);
      const t = silent.since === null ? silent.at : silent.at + (performance.now() - silent.since) / 1000 * silent.rate;
      if (t >= DURATION && silent.since !== null) { silent.at = DURATION; silent.since = null; }
      return Math.min(t, DURATION);
    },
    get paused() { return media ? media.paused : silent.since === null; },
    play() {
      if (clock.time >= DURATION - 0.01) clock.seek(0);
      if (media) return media.play();
      silent.since = performance.now();
    },
    pause() { if (media) media.pause(); else { silent.at = clock.time; silent.since = null; } },
    seek(t) {
      t = Math.max(0, Math.min(t, DURATION));
      if (media) media.currentTime = t; else { silent.at = t; if (silent.since !== null) silent.since = performance.now(); }
      wanted = t; soon();
    },
    rate(r) { if (media) media.playbackRate = r; else { silent.at = clock.time; if (silent.since !== null) silent.since = performance.now(); silent.rate = r; } },
  };
  let wanted = null; // the time last asked for, shown until the media element has got there
  function now() {
    if (media && media.seeking && wanted !== null) return wanted;
    return clock.time;
  }
  // half a millisecond: media elements stop a little before the time they were sent to
  const frameAt = (t) => Math.max(0, Math.min(COUNT - 1, Math.floor((t + 5e-4) / FRAME)));

  function openMedia() {
    if (!data.media) return;
    media = document.createElement(data.media.video ? "video" : "audio");
    media.preload = "auto"; media.playsInline = true;
    media.src = URL.createObjectURL(new Blob([bytes($("media").textContent.trim())], { type: data.media.mime }));
    $("media").remove();
    if (data.media.video) $("stage").prepend(media);
    for (const name of ["play", "pause", "ended"]) media.addEventListener(name, () => { buttons(); soon(); });
    for (const name of ["seeked", "loadeddata", "timeupdate"]) media.addEventListener(name, soon);
  }

  // ---- marks -------------------------------------------------------------------------------------------------------------
  const DARK = "rgba(8,11,16,.92)";
  const estColour = (i) => state.colour === "class" ? CLASS[state.est.cls[i]] : COLOUR[STATUS[state.est.status[i]]];
  const refColour = (i) => state.colour === "class" ? CLASS[ref.cls[i]] : COLOUR.missed;
  function ring(g, x, y, s, colour, dashed) {
    for (const [paint, width] of [[DARK, s / 4 + 3], [colour, s / 4 + .6]]) {
      g.beginPath();
      if (dashed) g.setLineDash([s * .62, s * .4]);
      g.arc(x, y, 1.3 * s, 0, 7); g.strokeStyle = paint; g.lineWidth = width; g.stroke(); g.setLineDash([]);
    }
  }
  function shape(g, x, y, s, status, colour) {
    g.fillStyle = colour; g.strokeStyle = DARK; g.lineWidth = 1.6; g.beginPath();
    if (status === MISPLACED) { g.moveTo(x, y - .95 * s); g.lineTo(x + .95 * s, y); g.lineTo(x, y + .95 * s); g.lineTo(x - .95 * s, y); g.closePath(); }
    else if (status === FALSE && state.colour === "match") {
      for (const [paint, width] of [[DARK, s / 3 + 3.2], [colour, s / 3]]) {
        g.beginPath(); g.lineCap = "round"; g.lineWidth = width; g.strokeStyle = paint;
        g.moveTo(x - .62 * s, y - .62 * s); g.lineTo(x + .62 * s, y + .62 * s); g.moveTo(x - .62 * s, y + .62 * s); g.lineTo(x + .62 * s, y - .62 * s); g.stroke();
      }
      g.lineCap = "butt"; return;
    } else g.arc(x, y, .76 * s, 0, 7);
    g.fill(); g.stroke();
  }
  function pill(g, text, x, y, colour, width, left) {
    g.font = "600 12px system-ui, sans-serif"; g.textBaseline = "middle";
    const w = g.measureText(text).width + 13;
    if ((left && x - w - labelGap > 2) || x + w + labelGap > width - 2) x -= w + labelGap; else x += labelGap;
    g.fillStyle = "rgba(8,11,16,.78)"; g.beginPath(); g.roundRect(x, y - 9.5, w, 19, 5); g.fill();
    g.fillStyle = colour; g.fillRect(x, y - 5.5, 2.5, 11);
    g.fillStyle = "#eef2f7"; g.fillText(text, x + 8, y + .5);
  }
  let labelGap = 16;

  // ---- projections -------------------------------------------------------------------------------------------------------
  function panorama(az, el, w, h) {
    const x = (180 - az) / 360 * w;
    return [((x % w) + w) % w, (90 - el) / 180 * h, true];
  }
  function perspective(az, el, w, h) {
    const camera = data.camera, [x, y, z] = vector(az - camera.yaw_deg, el), focal = w / 2 / Math.tan(camera.fov_deg * RAD / 2);
    if (x <= 1e-9) return [NaN, NaN, false];
    const px = w / 2 - focal * y / x, py = h / 2 - focal * z / x;
    return [px, py, px >= 0 && px < w && py >= 0 && py < h];
  }
  function globe(w, h) {
    const yaw = state.yaw * RAD, pitch = state.pitch * RAD, R = Math.min(w, h) * .41;
    const f = [Math.cos(yaw) * Math.cos(pitch), Math.sin(yaw) * Math.cos(pitch), -Math.sin(pitch)];
    const r = [Math.sin(yaw), -Math.cos(yaw), 0];
    const u = [r[1] * f[2] - r[2] * f[1], r[2] * f[0] - r[0] * f[2], r[0] * f[1] - r[1] * f[0]];
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    return { R, at: (v) => [w / 2 + R * dot(r, v), h / 2 - R * dot(u, v), -dot(f, v)] }; // third: towards the viewer
  }
  // Looking around inside the panorama: a pinhole camera that turns.
  function lookAxes() {
    const az = state.look.azimuth * RAD, el = state.look.elevation * RAD;
    const f = [Math.cos(az) * Math.cos(el), Math.sin(az) * Math.cos(el), Math.sin(el)], r = [Math.sin(az), -Math.cos(az), 0];
    return { f, r, u: [r[1] * f[2] - r[2] * f[1], r[2] * f[0] - r[0] * f[2], r[0] * f[1] - r[1] * f[0]] };
  }
  const dot3 = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  function around(az, el, w, h) {
    const { f, r, u } = lookAxes(), v = vector(az, el), depth = dot3(f, v), focal = w / 2 / Math.tan(state.look.fov * RAD / 2);
    if (depth < .02) return [NaN, NaN, false];
    const x = w / 2 + dot3(r, v) / depth * focal, y = h / 2 - dot3(u, v) / depth * focal;
    return [x, y, x >= 0 && x < w && y >= 0 && y < h];
  }
  const projection = () => state.view === "sphere" ? null : state.view === "around" ? around : state.view === "picture" && data.camera.kind === "perspective" ? perspective : panorama;
  const wraps = () => projection() === panorama;

  // What stands where: also the answer to tests and scripts (player.markers()).
  function markers(t) {
    const f = frameAt(t), list = [], w = size.stage[0], h = size.stage[1], est = state.est;
    const project = projection();
    const ball = project ? null : globe(w, h);
    const add = (kind, i, from) => {
      if (state.hidden.has(from.cls[i])) return;
      const p = project ? project(from.az[i], from.el[i], w, h) : ball.at(vector(from.az[i], from.el[i]));
      if (project && !p[2]) return;
      list.push({ kind, row: i, class_index: from.cls[i], azimuth_deg: from.az[i], elevation_deg: from.el[i], status: STATUS[from.status[i]], x: p[0], y: p[1], depth: project ? 1 : p[2] });
    };
    if (state.show.reference) for (let i = ref.first[f]; i < ref.first[f + 1]; i++) add("reference", i, ref);
    if (state.show.prediction) for (let i = est.first[f]; i < est.first[f + 1]; i++) add("prediction", i, est);
    return list;
  }

  // ---- the stage ---------------------------------------------------------------------------------------------------------
  const size = { stage: [1, 1], lanes: [1, 1] };
  function context(canvas, w, h) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
    const g = canvas.getContext("2d"); g.setTransform(ratio, 0, 0, ratio, 0, 0); g.clearRect(0, 0, w, h);
    return g;
  }
  function drawStage(t) {
    const [w, h] = size.stage, g = context($("overlay"), w, h), s = Math.max(7, Math.min(12, h / 44));
    labelGap = 1.9 * s;
    if (media && hasVideo) media.style.visibility = state.view === "picture" ? "visible" : "hidden";
    $("around").style.visibility = state.view === "around" ? "visible" : "hidden";
    if (state.view === "sphere") drawGlobe(g, w, h); else if (state.view === "around") drawAround(g, w, h); else drawGrid(g, w, h);
    if ((state.view === "picture" || state.view === "around") && state.show.boxes && boxes) drawBoxes(g, w, h, t);
    const list = markers(t), shifts = wraps() ? [0, -w, w] : [0], margin = 3 * s;
    const near = (x) => shifts.filter((d) => x + d > -margin && x + d < w + margin);
    if (state.view === "sphere") drawStems(g, w, h, list); else drawTrails(g, w, h, t);
    const partnerOf = new Map(list.filter((m) => m.kind === "prediction").map((m) => [m.row, m]));
    const labels = [], leftOf = new Set(); // predictions whose reference stands to their right: the label goes to the left
    for (const m of list) if (m.kind === "reference") {
      const p = partnerOf.get(ref.partner[m.row]);
      if (!p) continue;
      let dx = p.x - m.x;
      if (wraps()) dx = dx > w / 2 ? dx - w : dx < -w / 2 ? dx + w : dx;
      if (dx < -s / 2) leftOf.add(p.row);
      if (Math.hypot(dx, p.y - m.y) < 2 * s) continue;
      for (const shift of shifts) { // from the reference to its prediction, the short way round
        g.strokeStyle = DARK; g.lineWidth = 3.5; g.setLineDash([]); g.beginPath(); g.moveTo(m.x + shift, m.y); g.lineTo(m.x + shift + dx, p.y); g.stroke();
        g.strokeStyle = estColour(p.row); g.lineWidth = 1.6; g.setLineDash([5, 4]); g.stroke(); g.setLineDash([]);
      }
    }
    for (const m of [...list].sort((a, b) => a.depth - b.depth)) {
      g.globalAlpha = m.depth < 0 ? .55 : 1;
      const scale = state.view === "sphere" ? s * (.95 + .2 * m.depth) : s;
      for (const shift of near(m.x)) {
        if (m.kind === "reference") ring(g, m.x + shift, m.y, scale, refColour(m.row), ref.status[m.row] === MISSED);
        else shape(g, m.x + shift, m.y, scale, state.est.status[m.row], estColour(m.row));
      }
      g.globalAlpha = 1;
      const alone = m.kind === "reference" && !partnerOf.has(ref.partner[m.row]);
      if (m.kind === "prediction" || alone) {
        const angle = m.kind === "prediction" ? state.est.angle[m.row] : NaN;
        labels.push({ x: m.x, y: m.y, left: m.kind === "prediction" && leftOf.has(m.row), text: data.classes[m.class_index] + (Number.isNaN(angle) ? "" : "  " + angle.toFixed(0) + "°"), colour: m.kind === "prediction" ? estColour(m.row) : refColour(m.row) });
      }
    }
    if (state.view === "around" && state.show.labels) drawBeyond(g, w, h, t);
    if (state.show.labels) {
      labels.sort((a, b) => a.y - b.y);
      labels.forEach((one, i) => { // pushed down where two would cover each other
        for (let k = 0; k < i; k++) if (Math.abs(labels[k].x - one.x) < 150 && one.y - labels[k].y < 21) one.y = labels[k].y + 21;
        pill(g, one.text, one.x, Math.max(11, Math.min(h - 11, one.y)), one.colour, w, one.left);
      });
    }
  }
  function drawGrid(g, w, h) {
    const picture = state.view === "picture";
    if (!picture) {
      const sky = g.createLinearGradient(0, 0, 0, h);
      sky.addColorStop(0, "#18212e"); sky.addColorStop(.5, "#121a25"); sky.addColorStop(.5, "#0e141c"); sky.addColorStop(1, "#0a0e14");
      g.fillStyle = sky; g.fillRect(0, 0, w, h);
    }
    if (picture && data.camera.kind === "perspective") return;
    g.font = "11px system-ui, sans-serif"; g.textBaseline = "alphabetic";
    for (let az = 150; az >= -150; az -= 30) {
      const x = (180 - az) / 360 * w, main = az % 90 === 0;
      g.strokeStyle = picture ? (main ? "rgba(255,255,255,.2)" : "rgba(255,255,255,0)") : (main ? "#2c394b" : "#1d2734"); g.lineWidth = 1;
      g.beginPath(); g.moveTo(x, 0); g.lineTo(x, h); g.stroke();
    }
    for (let el = -60; el <= 60; el += 30) {
      g.strokeStyle = picture ? (el === 0 ? "rgba(255,255,255,.2)" : "rgba(255,255,255,0)") : (el === 0 ? "#2c394b" : "#1d2734");
      const y = (90 - el) / 180 * h; g.beginPath(); g.moveTo(0, y); g.lineTo(w, y); g.stroke();
    }
    const put = (text, x, y, align) => { g.textAlign = align; g.lineWidth = 3; g.strokeStyle = "rgba(5,7,10,.7)"; g.strokeText(text, x, y); g.fillStyle = "rgba(235,240,247,.78)"; g.fillText(text, x, y); g.textAlign = "left"; };
    for (const [az, name] of [[90, "left +90°"], [0, "front 0°"], [-90, "right −90°"]]) put(name, (180 - az) / 360 * w, 15, "center");
    put("back +180°", 6, 15, "left"); put("back −180°", w - 6, 15, "right");
    for (const el of [45, -45]) put((el > 0 ? "+" : "−") + "45° elevation", 6, (90 - el) / 180 * h + 4, "left");
  }
  function drawBoxes(g, w, h, t) {
    const per = boxes.per;
    if (t > boxes.end + 1 || !boxes.time.length) return; // after the video's end the last boxes are kept for a second
    let low = 0, high = boxes.time.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (boxes.time[mid] <= t + 1e-6) low = mid; else high = mid - 1; }
    g.font = "10.5px system-ui, sans-serif"; g.textBaseline = "alphabetic";
    for (let k = 0; k < per; k++) {
      const [x0, y0, x1, y1] = [0, 1, 2, 3].map((j) => boxes.box[(low * per + k) * 4 + j] / 8192 * (j % 2 ? h : w));
      if (x1 <= x0 || y1 <= y0) continue;
      const outline = boxOutline(x0, y0, x1, y1, w, h);
      if (!outline.length) continue;
      g.beginPath();
      outline.forEach(([x, y], i) => { if (i) g.lineTo(x, y); else g.moveTo(x, y); });
      g.strokeStyle = "rgba(8,11,16,.6)"; g.lineWidth = 3; g.stroke();
      g.strokeStyle = "rgba(226,232,240,.9)"; g.lineWidth = 1.2; g.setLineDash([4, 3]); g.stroke(); g.setLineDash([]);
      const [x, y] = outline[0];
      g.lineWidth = 3; g.strokeStyle = "rgba(8,11,16,.75)"; g.strokeText("person", x + 2, y - 4); g.fillStyle = "rgba(226,232,240,.95)"; g.fillText("person", x + 2, y - 4);
    }
  }
  // Corners of a box in pixels of the whole picture -> closed line in the present view, from the top left corner on.
  function boxOutline(x0, y0, x1, y1, w, h) {
    const corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]];
    if (state.view !== "around") return corners;
    const points = [];
    for (let i = 1; i < 5; i++) for (let k = 0; k < 8; k++) {
      const x = corners[i - 1][0] + (corners[i][0] - corners[i - 1][0]) * k / 8, y = corners[i - 1][1] + (corners[i][1] - corners[i - 1][1]) * k / 8;
      const p = around(180 - x / w * 360, 90 - y / h * 180, w, h);
      if (Number.isNaN(p[0]) || Math.abs(p[0]) > 3 * w) return [];
      points.push(p);
    }
    return [...points, points[0]];
  }
  // The video as a texture on the inside of a sphere.
  const gl = { context: null, program: null };
  function openAround() {
    const c = $("around").getContext("webgl2", { antialias: false });
    if (!c) return false;
    const shader = (type, text) => { const made = c.createShader(type); c.shaderSource(made, text); c.compileShader(made); c.attachShader(gl.program, made); };
    gl.program = c.createProgram();
    shader(c.VERTEX_SHADER, `#version 300 es
      out vec2 place;
      void main() { vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4. - 1.; place = corner; gl_Position = vec4(corner, 0, 1); }`);
    shader(c.FRAGMENT_SHADER, `#version 300 es
      precision highp float;
      in vec2 place; out vec4 colour; uniform sampler2D film; uniform vec3 f, r, u; uniform vec2 reach;
      void main() {
        vec3 v = normalize(f + r * place.x * reach.x + u * place.y * reach.y);
        colour = texture(film, vec2(.5 - atan(v.y, v.x) / 6.28318530718, .5 - asin(clamp(v.z, -1., 1.)) / 3.14159265359));
      }`);
    c.linkProgram(gl.program);
    if (!c.getProgramParameter(gl.program, c.LINK_STATUS)) return false;
    c.useProgram(gl.program);
    c.bindTexture(c.TEXTURE_2D, c.createTexture());
    c.texParameteri(c.TEXTURE_2D, c.TEXTURE_MIN_FILTER, c.LINEAR); c.texParameteri(c.TEXTURE_2D, c.TEXTURE_MAG_FILTER, c.LINEAR);
    c.texParameteri(c.TEXTURE_2D, c.TEXTURE_WRAP_S, c.REPEAT); c.texParameteri(c.TEXTURE_2D, c.TEXTURE_WRAP_T, c.CLAMP_TO_EDGE);
    gl.context = c;
    return true;
  }
  function drawAround(g, w, h) {
    const c = gl.context, canvas = $("around"), ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
    c.viewport(0, 0, canvas.width, canvas.height);
    if (media.readyState >= 2) c.texImage2D(c.TEXTURE_2D, 0, c.RGBA, c.RGBA, c.UNSIGNED_BYTE, media);
    const axes = lookAxes(), reach = Math.tan(state.look.fov * RAD / 2);
    for (const name of ["f", "r", "u"]) c.uniform3fv(c.getUniformLocation(gl.program, name), axes[name]);
    c.uniform2f(c.getUniformLocation(gl.program, "reach"), reach, reach * h / w);
    c.drawArrays(c.TRIANGLES, 0, 3);
    g.font = "11px system-ui, sans-serif"; g.textBaseline = "alphabetic"; g.textAlign = "center"; // a compass along the top
    for (let az = -180; az < 180; az += 15) {
      const p = around(az, state.look.elevation, w, h);
      if (!p[2]) continue;
      const name = { 0: "front 0°", 90: "left +90°", "-90": "right −90°", "-180": "back ±180°" }[az];
      g.strokeStyle = "rgba(255,255,255,.55)"; g.lineWidth = 1; g.beginPath(); g.moveTo(p[0], 0); g.lineTo(p[0], name ? 8 : 5); g.stroke();
      if (name) { g.lineWidth = 3; g.strokeStyle = "rgba(5,7,10,.7)"; g.strokeText(name, p[0], 20); g.fillStyle = "rgba(235,240,247,.85)"; g.fillText(name, p[0], 20); }
    }
    g.textAlign = "left";
  }
  function drawBeyond(g, w, h, t) { // sources outside of the view: named at the edge that they are behind
    const f = frameAt(t), seen = new Set(), axes = lookAxes(), sides = { left: 0, right: 0 };
    const add = (i, from, colour) => {
      if (state.hidden.has(from.cls[i]) || around(from.az[i], from.el[i], w, h)[2]) return;
      const side = dot3(axes.r, vector(from.az[i], from.el[i])) < 0 ? "left" : "right", key = side + from.cls[i];
      if (seen.has(key)) return;
      seen.add(key);
      const text = side === "left" ? "‹ " + data.classes[from.cls[i]] : data.classes[from.cls[i]] + " ›", y = h / 2 + 24 * sides[side]++;
      g.font = "600 12px system-ui, sans-serif";
      pill(g, text, side === "left" ? 6 - labelGap : w - 6 - labelGap - g.measureText(text).width - 13, y, colour, w + 99);
    };
    if (state.show.prediction) for (let i = state.est.first[f]; i < state.est.first[f + 1]; i++) add(i, state.est, estColour(i));
    if (state.show.reference) for (let i = ref.first[f]; i < ref.first[f + 1]; i++) add(i, ref, refColour(i));
  }
  function drawTrails(g, w, h, t) { // where the reference was during the last second
    if (!state.show.reference) return;
    const f = frameAt(t), project = projection(), last = new Map();
    for (let k = Math.max(0, f - 10); k <= f; k++) for (let i = ref.first[k]; i < ref.first[k + 1]; i++) {
      if (state.hidden.has(ref.cls[i])) continue;
      const key = ref.cls[i] * 4096 + ref.source[i], p = project(ref.az[i], ref.el[i], w, h), before = last.get(key);
      if (before && before.f === k - 1 && Math.abs(before.x - p[0]) < w / 2 && p[2]) {
        g.strokeStyle = refColour(i); g.globalAlpha = .75 * (1 - (f - k) / 11); g.lineWidth = 2;
        g.beginPath(); g.moveTo(before.x, before.y); g.lineTo(p[0], p[1]); g.stroke(); g.globalAlpha = 1;
      }
      last.set(key, { f: k, x: p[0], y: p[1] });
    }
  }
  function drawGlobe(g, w, h) {
    const ball = globe(w, h), { R } = ball;
    g.fillStyle = "#080b10"; g.fillRect(0, 0, w, h);
    const shade = g.createRadialGradient(w / 2 - R * .35, h / 2 - R * .45, R * .1, w / 2, h / 2, R);
    shade.addColorStop(0, "#223044"); shade.addColorStop(.7, "#151e2b"); shade.addColorStop(1, "#0d131c");
    g.fillStyle = shade; g.beginPath(); g.arc(w / 2, h / 2, R, 0, 7); g.fill();
    g.strokeStyle = "#3a4a60"; g.lineWidth = 1.2; g.stroke();
    const path = (points, near, far, width) => {
      for (let i = 1; i < points.length; i++) {
        const [a, b] = [ball.at(points[i - 1]), ball.at(points[i])];
        g.strokeStyle = a[2] + b[2] > 0 ? near : far; g.lineWidth = width;
        g.beginPath(); g.moveTo(a[0], a[1]); g.lineTo(b[0], b[1]); g.stroke();
      }
    };
    const steps = Array.from({ length: 73 }, (_, i) => i * 5);
    g.fillStyle = "rgba(86,180,233,.07)"; g.beginPath();
    steps.forEach((az, i) => { const p = ball.at(vector(az, 0)); if (i) g.lineTo(p[0], p[1]); else g.moveTo(p[0], p[1]); }); g.fill();
    for (let el = -60; el <= 60; el += 30) path(steps.map((az) => vector(az, el)), el ? "rgba(147,161,181,.32)" : "rgba(86,180,233,.75)", el ? "rgba(147,161,181,.12)" : "rgba(86,180,233,.35)", el ? 1 : 1.6);
    for (let az = -180; az < 180; az += 30) path(Array.from({ length: 37 }, (_, i) => vector(az, i * 5 - 90)), "rgba(147,161,181,.32)", "rgba(147,161,181,.12)", az === 0 ? 1.6 : 1);
    g.font = "12px system-ui, sans-serif"; g.textAlign = "center"; g.textBaseline = "middle";
    for (const [az, el, name] of [[0, 0, "front 0°"], [90, 0, "left +90°"], [-90, 0, "right −90°"], [180, 0, "back"], [0, 90, "up"]]) {
      const p = ball.at(vector(az, el).map((v) => 1.13 * v));
      g.fillStyle = p[2] > -.2 ? "#cdd6e2" : "#6f7d92"; g.fillText(name, p[0], p[1]);
    }
    g.textAlign = "left";
    const c = ball.at([0, 0, 0]), nose = ball.at([.13, 0, 0]); // the listener
    g.strokeStyle = "#cdd6e2"; g.lineWidth = 2.5; g.beginPath(); g.moveTo(c[0], c[1]); g.lineTo(nose[0], nose[1]); g.stroke();
    g.fillStyle = "#cdd6e2"; g.beginPath(); g.arc(c[0], c[1], 5.5, 0, 7); g.fill();
  }
  function drawStems(g, w, h, list) {
    const ball = globe(w, h), c = ball.at([0, 0, 0]);
    for (const m of list) {
      const colour = m.kind === "reference" ? refColour(m.row) : estColour(m.row);
      g.globalAlpha = m.depth < 0 ? .4 : .8; g.strokeStyle = colour; g.lineWidth = m.kind === "reference" ? 1.2 : 2;
      if (m.kind === "reference") g.setLineDash([4, 4]);
      g.beginPath(); g.moveTo(c[0], c[1]); g.lineTo(m.x, m.y); g.stroke(); g.setLineDash([]);
      const v = vector(m.azimuth_deg, m.elevation_deg), foot = ball.at([v[0], v[1], 0]); // its place on the horizontal plane
      g.globalAlpha *= .6; g.lineWidth = 1; g.setLineDash([2, 3]); g.beginPath(); g.moveTo(m.x, m.y); g.lineTo(foot[0], foot[1]); g.stroke(); g.setLineDash([]);
      g.globalAlpha = 1;
    }
  }

  // ---- lanes over time ---------------------------------------------------------------------------------------------------
  const GUTTER = 148, ROW = 19;
  let layout = null;
  const xOf = (t) => GUTTER + (t - state.from) / (state.to - state.from) * (size.lanes[0] - GUTTER - 6);
  const tOf = (x) => state.from + (x - GUTTER) / (size.lanes[0] - GUTTER - 6) * (state.to - state.from);
  function timeStep(span, most) { return [.1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600].find((s) => span / s <= most) || 7200; }
  function clockText(t, digits) {
    const m = Math.floor(t / 60 + 1e-9), s = Math.max(0, t - 60 * m);
    return m + ":" + s.toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  }
  function drawLanes() {
    const roll = [...rowsOfClass].sort((a, b) => a - b), w = size.lanes[0];
    const azimuth = { top: 8, height: 132 }, elevation = { top: 156, height: 78 }, classes = { top: 248, height: Math.max(1, roll.length) * ROW };
    const h = classes.top + classes.height + 26;
    layout = { azimuth, elevation, classes, roll, h };
    $("lanes").style.height = h + "px"; $("playhead").style.height = h - 22 + "px";
    size.lanes[1] = h;
    const g = context($("lanes"), w, h), est = state.est;
    g.font = "11.5px system-ui, sans-serif"; g.textBaseline = "middle";
    const step = timeStep(state.to - state.from, Math.max(4, (w - GUTTER) / 90)), digits = step < 1 ? 1 : 0;
    const lane = (top, height) => { g.fillStyle = "#0e131b"; g.fillRect(GUTTER, top, w - GUTTER - 6, height); };
    lane(azimuth.top, azimuth.height); lane(elevation.top, elevation.height); lane(classes.top, classes.height);
    for (let t = Math.ceil(state.from / step - 1e-9) * step; t <= state.to + 1e-9; t += step) {
      const x = Math.round(xOf(t)) + .5;
      g.strokeStyle = "#1a2330"; g.beginPath(); g.moveTo(x, azimuth.top); g.lineTo(x, classes.top + classes.height); g.stroke();
      g.fillStyle = "#93a1b5"; g.textAlign = t + step > state.to + 1e-9 && x > w - 24 ? "right" : "center"; g.fillText(clockText(t, digits), x, h - 13);
    }
    const axis = (place, limit, degrees, title, notes) => {
      place.y = (v) => place.top + (limit - v) / (2 * limit) * place.height;
      for (const v of degrees) {
        const y = Math.round(place.y(v)) + .5;
        g.strokeStyle = v === 0 ? "#33425a" : "#1f2937"; g.beginPath(); g.moveTo(GUTTER, y); g.lineTo(w - 6, y); g.stroke();
        g.fillStyle = "#93a1b5"; g.textAlign = "right";
        g.fillText((v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v) + "°", GUTTER - 7, Math.max(place.top + 5, Math.min(place.top + place.height - 5, y)));
      }
      g.textAlign = "left"; g.fillStyle = "#e8edf4"; g.font = "600 12px system-ui, sans-serif"; g.fillText(title, 0, place.top + 8);
      g.font = "11px system-ui, sans-serif"; g.fillStyle = "#67758a"; g.fillText("in degrees", 0, place.top + 23);
      g.textAlign = "right"; notes.forEach(([v, text]) => g.fillText(text, GUTTER - 50, place.y(v))); g.textAlign = "left";
      g.font = "11.5px system-ui, sans-serif";
    };
    axis(azimuth, 180, [180, 90, 0, -90, -180], "Azimuth", [[90, "left"], [0, "front"], [-90, "right"], [-172, "back"]]);
    axis(elevation, 90, [90, 45, 0, -45, -90], "Elevation", [[45, "up"], [-45, "down"]]);
    g.textAlign = "left"; g.fillStyle = "#67758a"; g.font = "11px system-ui, sans-serif"; g.fillText("time in min:s", 0, h - 13);
    g.font = "12px system-ui, sans-serif";
    roll.forEach((c, k) => {
      const y = classes.top + k * ROW;
      g.strokeStyle = "#1f2937"; g.beginPath(); g.moveTo(GUTTER, y + .5); g.lineTo(w - 6, y + .5); g.stroke();
      g.fillStyle = state.hidden.has(c) ? "#4d5a6d" : "#d5dde8"; g.textAlign = "right";
      let name = data.classes[c];
      while (g.measureText(name).width > GUTTER - 14 && name.length > 3) name = name.slice(0, -2) + "…";
      g.fillText(name, GUTTER - 8, y + ROW / 2 + .5);
    });
    g.textAlign = "left";
    g.save(); g.beginPath(); g.rect(GUTTER, 0, w - GUTTER - 6, h); g.clip();
    const f0 = frameAt(Math.max(0, state.from)), f1 = frameAt(state.to) + 1, wide = Math.max(1.6, xOf(FRAME) - xOf(0) + .4), dot = Math.max(1.5, Math.min(2.6, wide * .55));
    const index = new Map(roll.map((c, k) => [c, k]));
    if (state.show.reference) for (let i = ref.first[f0]; i < ref.first[f1]; i++) {
      if (state.hidden.has(ref.cls[i])) continue;
      const x = xOf(ref.frame[i] * FRAME), missed = ref.status[i] === MISSED;
      g.fillStyle = state.colour === "class" ? CLASS[ref.cls[i]] + "88" : missed ? COLOUR.missed : "#5c6b80";
      g.fillRect(x, azimuth.y(ref.az[i]) - 2.5, wide, 5); g.fillRect(x, elevation.y(ref.el[i]) - 2.5, wide, 5);
      if (index.has(ref.cls[i])) g.fillRect(x, classes.top + index.get(ref.cls[i]) * ROW + 3, wide, (ROW - 7) / 2);
    }
    if (state.show.prediction) for (const wantedStatus of [CORRECT, MISPLACED, FALSE]) for (let i = est.first[f0]; i < est.first[f1]; i++) {
      if (est.status[i] !== wantedStatus || state.hidden.has(est.cls[i])) continue;
      const x = xOf((est.frame[i] + .5) * FRAME);
      g.fillStyle = estColour(i);
      for (const y of [azimuth.y(est.az[i]), elevation.y(est.el[i])]) {
        if (wantedStatus === CORRECT || state.colour === "class") { g.beginPath(); g.arc(x, y, dot, 0, 7); g.fill(); }
        else if (wantedStatus === MISPLACED) { g.beginPath(); g.moveTo(x, y - dot * 1.35); g.lineTo(x + dot * 1.35, y); g.lineTo(x, y + dot * 1.35); g.lineTo(x - dot * 1.35, y); g.fill(); }
        else { g.strokeStyle = g.fillStyle; g.lineWidth = 1.3; g.beginPath(); g.moveTo(x - dot, y - dot); g.lineTo(x + dot, y + dot); g.moveTo(x - dot, y + dot); g.lineTo(x + dot, y - dot); g.stroke(); }
      }
      if (index.has(est.cls[i])) g.fillRect(xOf(est.frame[i] * FRAME), classes.top + index.get(est.cls[i]) * ROW + 3 + (ROW - 7) / 2 + 1, wide, (ROW - 7) / 2);
    }
    g.restore(); g.lineWidth = 1;
    drawOverview();
  }
  function drawOverview() { // the whole recording: how many rows agree, column by column
    const canvas = $("overview"), w = size.lanes[0], h = 26, g = context(canvas, w, h), wide = w - GUTTER - 6;
    g.font = "11px system-ui, sans-serif"; g.fillStyle = "#67758a"; g.textBaseline = "middle"; g.fillText("whole recording", 0, h / 2);
    g.fillStyle = "#0e131b"; g.fillRect(GUTTER, 3, wide, h - 6);
    const per = Math.max(1, Math.ceil(COUNT / (wide / 2))), columns = Math.ceil(COUNT / per), count = Array.from({ length: 4 }, () => new Float32Array(columns));
    const column = (f) => Math.floor(f / per), unit = per * FRAME / DURATION * wide;
    for (let i = 0; i < ref.n; i++) if (!state.hidden.has(ref.cls[i]) && ref.frame[i] < COUNT) count[ref.status[i]][column(ref.frame[i])]++;
    for (let i = 0; i < state.est.n; i++) if (state.est.status[i] === FALSE && !state.hidden.has(state.est.cls[i])) count[FALSE][column(state.est.frame[i])]++;
    const top = Math.max(4, ...count[0].map((_, k) => count[0][k] + count[1][k] + count[2][k] + count[3][k]));
    for (let k = 0; k < columns; k++) {
      let y = h - 3;
      for (const s of [CORRECT, MISPLACED, MISSED, FALSE]) {
        const part = count[s][k] / top * (h - 6);
        g.fillStyle = hasReference ? COLOUR[STATUS[s]] : "#56b4e9"; g.globalAlpha = s === MISSED ? .8 : 1; y -= part; g.fillRect(GUTTER + k * unit, y, Math.min(unit + .3, wide - k * unit), part);
      }
    }
    g.globalAlpha = 1; layout.overview = [GUTTER, wide];
    if (state.to - state.from < DURATION - 1e-6) {
      const a = GUTTER + state.from / DURATION * wide, b = GUTTER + state.to / DURATION * wide;
      g.fillStyle = "rgba(5,7,10,.55)"; g.fillRect(GUTTER, 0, a - GUTTER, h); g.fillRect(b, 0, GUTTER + wide - b, h);
      g.strokeStyle = "#e8edf4"; g.lineWidth = 1.4; g.strokeRect(a + .5, 1, Math.max(3, b - a - 1), h - 2);
    }
  }

  // ---- numbers beside the picture ----------------------------------------------------------------------------------------
  function tally() {
    const sum = [0, 0, 0, 0], each = Array.from({ length: CLASSES }, () => [0, 0, 0, 0]);
    let angle = 0, pairs = 0;
    for (let i = 0; i < ref.n; i++) { each[ref.cls[i]][ref.status[i]]++; if (!state.hidden.has(ref.cls[i])) sum[ref.status[i]]++; }
    for (let i = 0; i < state.est.n; i++) {
      const c = state.est.cls[i], seen = !state.hidden.has(c);
      if (state.est.status[i] === FALSE) { each[c][FALSE]++; if (seen) sum[FALSE]++; }
      if (seen && !Number.isNaN(state.est.angle[i])) { angle += state.est.angle[i]; pairs++; }
    }
    state.tally = { sum, each, pairs, angle: pairs ? angle / pairs : NaN };
  }
  const icon = (draw) => { const c = document.createElement("canvas"); const g = context(c, 20, 20); c.style.cssText = "width:20px;height:20px"; draw(g); return c; };
  function element(name, properties, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) if (key in made) made[key] = value; else made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function bar(parent, parts) {
    parent.replaceChildren();
    const total = parts.reduce((a, b) => a + b, 0) || 1;
    [CORRECT, MISPLACED, MISSED, FALSE].forEach((s) => {
      if (!parts[s]) return;
      const part = element("i"); part.style.width = parts[s] / total * 100 + "%"; part.style.background = COLOUR[STATUS[s]]; if (s === MISSED) part.style.opacity = .75; parent.append(part);
    });
  }
  function drawSide() {
    tally();
    const { sum, each, pairs, angle } = state.tally, legend = $("legend");
    if (hasReference) {
      const tp = sum[CORRECT], reference = sum[CORRECT] + sum[MISPLACED] + sum[MISSED], predicted = sum[CORRECT] + sum[MISPLACED] + sum[FALSE];
      const f = reference + predicted ? 2 * tp / (reference + predicted) : NaN;
      const number = (value, name) => element("div", {}, element("b", { textContent: value }), element("span", { textContent: name }));
      $("score").replaceChildren(
        number(Number.isNaN(f) ? "–" : f.toFixed(2), `frame F within ${data.within_deg}°`), number(Number.isNaN(angle) ? "–" : angle.toFixed(1) + "°", "mean angle of pairs"),
        number(reference ? (100 * pairs / reference).toFixed(0) + " %" : "–", "frames detected"));
      const strip = element("div", { className: "bar" }); bar(strip, sum);
      const item = (status, text, draw) => element("li", { title: text[1] }, icon(draw), element("span", { textContent: text[0] }), element("b", { textContent: status === null ? ref.n : sum[status] }));
      const list = element("ul", {},
        item(CORRECT, ["correct", `predicted within ${data.within_deg}° of its reference`], (g) => shape(g, 10, 10, 8, CORRECT, COLOUR.correct)),
        item(MISPLACED, ["misplaced", `predicted farther than ${data.within_deg}° from its reference`], (g) => shape(g, 10, 10, 8, MISPLACED, COLOUR.misplaced)),
        item(MISSED, ["missed", "in the reference, not predicted"], (g) => ring(g, 10, 10, 5.6, COLOUR.missed, true)),
        item(FALSE, ["false", "predicted, not in the reference"], (g) => { const c = state.colour; state.colour = "match"; shape(g, 10, 10, 8, FALSE, COLOUR.false); state.colour = c; }),
        item(null, ["reference", "rows of the reference"], (g) => ring(g, 10, 10, 5.6, COLOUR.missed, false)));
      legend.replaceChildren(strip, list, element("p", { className: "note", textContent: `rows of ${FRAME * 1000} ms frames, matched per frame and class` }));
    } else {
      $("score").replaceChildren(element("div", {}, element("b", { textContent: state.est.n }), element("span", { textContent: `predicted rows (${FRAME * 1000} ms)` })));
      legend.replaceChildren(element("p", { className: "note", textContent: "No reference: marks are coloured by class. Each is one predicted source." }));
    }
    for (const button of $("classes").children) {
      const c = +button.dataset.index, predicted = each[c][FALSE];
      bar(button.lastChild, each[c]);
      if (!hasReference) {
        const part = element("i"), most = Math.max(1, ...each.map((v) => v[FALSE]));
        part.style.width = predicted / most * 100 + "%"; part.style.background = CLASS[c]; button.lastChild.replaceChildren(part);
      }
      button.setAttribute("aria-pressed", String(!state.hidden.has(c)));
      button.classList.toggle("absent", each[c].every((v) => v === 0));
      button.title = hasReference ? `${data.classes[c]}: ${each[c][CORRECT]} correct, ${each[c][MISPLACED]} misplaced, ${each[c][MISSED]} missed, ${predicted} false. Double-click: only this class` : `${data.classes[c]}: ${predicted} predicted. Double-click: only this class`;
    }
  }

  // ---- refresh -----------------------------------------------------------------------------------------------------------
  let pending = false, dirty = true, lastShown = -1, lastPlayhead = "";
  function soon() { if (!pending) { pending = true; requestAnimationFrame(tick); } }
  function changed() { dirty = true; soon(); }
  function tick() {
    pending = false;
    const t = now();
    if (!clock.paused) {
      soon();
      const span = state.to - state.from;
      if (span < DURATION - 1e-6 && (t > state.to - .02 * span || t < state.from)) { show(t - .05 * span, span); dirty = true; }
    }
    if (dirty) { drawSide(); drawLanes(); dirty = false; }
    drawStage(t);
    const x = xOf(t), head = $("playhead");
    const css = `translateX(${x.toFixed(2)}px)`;
    if (css !== lastPlayhead) { head.style.transform = css; lastPlayhead = css; }
    head.style.visibility = x < GUTTER - 1 || x > size.lanes[0] - 5 ? "hidden" : "visible";
    const f = frameAt(t);
    if (f !== lastShown || clock.paused) { $("clock").innerHTML = ""; $("clock").append(clockText(t, 1), element("i", { textContent: ` / ${clockText(DURATION, 1)} · frame ${f}` })); lastShown = f; buttons(); }
  }
  function recompute() { state.est = events(state.thresholds); match(ref, state.est); changed(); }
  function show(from, span) {
    span = Math.max(Math.min(2, DURATION), Math.min(span, DURATION));
    state.from = Math.max(0, Math.min(from, DURATION - span)); state.to = state.from + span; changed();
  }
  function zoom(factor, at) {
    const span = state.to - state.from, next = Math.max(Math.min(2, DURATION), Math.min(span * factor, DURATION)), t = at === undefined ? now() : at;
    const part = Math.max(0, Math.min(1, (t - state.from) / span));
    show(t - part * next, next);
  }
  function setThreshold(v) { state.thresholds = state.thresholds.map(() => v); slider(); recompute(); }
  function slider() {
    const all = state.thresholds, same = all.every((v) => v === all[0]), mean = all.reduce((a, b) => a + b, 0) / all.length;
    $("threshold").value = same ? all[0] : mean;
    $("thresholdvalue").textContent = same ? all[0].toFixed(2) : `${Math.min(...all).toFixed(2)} – ${Math.max(...all).toFixed(2)} per class`;
  }

  // ---- controls ----------------------------------------------------------------------------------------------------------
  const PLAY = '<svg viewBox="0 0 16 16"><path d="M4 2.2v11.6L13.6 8z"/></svg>', PAUSE = '<svg viewBox="0 0 16 16"><path d="M3.5 2.5h3.2v11H3.5zM9.3 2.5h3.2v11H9.3z"/></svg>';
  const SOUND = '<svg viewBox="0 0 16 16"><path d="M2 6h2.6L8 3v10l-3.400-3H2zM10 5.200a4 4 0 0 1 0 5.600M11.800 3.400a6.500 6.500 0 0 1 0 9.200" fill-rule="evenodd" stroke="currentColor" stroke-width="0"/><path d="M10 5.200a4 4 0 0 1 0 5.600M11.800 3.400a6.500 6.500 0 0 1 0 9.200" fill="none" stroke="currentColor" stroke-width="1.300"/></svg>';
  const QUIET = '<svg viewBox="0 0 16 16"><path d="M2 6h2.6L8 3v10l-3.400-3H2z"/><path d="M10.500 6l4 4m0-4l-4 4" fill="none" stroke="currentColor" stroke-width="1.400"/></svg>';
  let lastPlay = null, lastMute = null;
  function buttons() {
    const paused = clock.paused, quiet = media ? media.muted : true;
    if (paused !== lastPlay) { $("play").innerHTML = paused ? PLAY : PAUSE; $("play").setAttribute("aria-label", paused ? "Play" : "Pause"); lastPlay = paused; }
    if (quiet !== lastMute) { $("mute").innerHTML = quiet ? QUIET : SOUND; lastMute = quiet; }
  }
  const toggle = () => { if (clock.paused) clock.play(); else clock.pause(); buttons(); soon(); };
  const step = (by) => { clock.pause(); clock.seek(Math.max(0, Math.min((frameAt(now()) + by) * FRAME + 1e-3, DURATION))); };
  const VIEWS = [...(hasVideo ? [["picture", "Video"]] : []), ...(hasVideo && data.camera.kind === "equirectangular" && openAround() ? [["around", "Look around"]] : []), ...(hasVideo && data.camera.kind === "equirectangular" ? [] : [["panorama", "Panorama"]]), ["sphere", "Sphere"]];
  const LAYERS = [...(hasReference ? [["reference", "Reference"]] : []), ["prediction", "Prediction"], ...(boxes && hasVideo ? [["boxes", "Boxes"]] : []), ["labels", "Labels"]];
  function setView(view) { state.view = view; press(); resize(); }
  function setShow(name, on) { if (name in state.show) { state.show[name] = on; press(); changed(); } }
  function press() {
    for (const button of $("views").children) button.setAttribute("aria-pressed", String(button.dataset.name === state.view));
    for (const button of $("layers").children) button.setAttribute("aria-pressed", String(state.show[button.dataset.name]));
    $("stage").classList.toggle("turns", state.view === "sphere" || state.view === "around");
    $("stagenote").textContent = { sphere: "seen from behind and above the listener · drag to turn", around: "drag to look around · wheel to zoom" }[state.view] || "";
  }
  function setClass(c, on) { if (on) state.hidden.delete(c); else state.hidden.add(c); changed(); }
  function only(c) { for (let k = 0; k < CLASSES; k++) if (k !== c) state.hidden.add(k); state.hidden.delete(c); changed(); }
  function build() {
    $("title").textContent = data.title; $("subtitle").textContent = data.subtitle;
    for (const [name, text] of VIEWS) $("views").append(element("button", { textContent: text, "data-name": name, onclick: () => setView(name) }));
    for (const [name, text] of LAYERS) $("layers").append(element("button", { textContent: text, "data-name": name, onclick: () => setShow(name, !state.show[name]) }));
    data.classes.forEach((name, c) => {
      const button = element("button", { className: "class", "data-index": c, onclick: () => setClass(c, state.hidden.has(c)), ondblclick: () => only(c) },
        element("span", { className: "swatch" }), element("span", { className: "label", textContent: name }), element("span", { className: "mini" }));
      button.style.setProperty("--swatch", hasReference ? "#8fa0b8" : CLASS[c]);
      $("classes").append(button);
    });
    if (data.details.length) $("details").append(element("h2", { textContent: "About" }), element("dl", {}, ...data.details.flatMap(([k, v]) => [element("dt", { textContent: k }), element("dd", { textContent: v })])));
    const t = $("threshold"); t.min = data.slider[0]; t.max = data.slider[1]; t.step = .01;
    t.oninput = () => setThreshold(+t.value);
    $("thresholdreset").onclick = () => { state.thresholds = data.thresholds.slice(); slider(); recompute(); };
    $("play").onclick = toggle; $("back").onclick = () => step(-1); $("forth").onclick = () => step(1);
    $("mute").onclick = () => { if (media) { media.muted = !media.muted; buttons(); } };
    if (!media) $("mute").hidden = true;
    $("speed").onchange = () => clock.rate(+$("speed").value);
    $("allclasses").onclick = () => { state.hidden.clear(); changed(); };
    $("noclasses").onclick = () => { for (let c = 0; c < CLASSES; c++) state.hidden.add(c); changed(); };
    $("zoomin").onclick = () => zoom(.5); $("zoomout").onclick = () => zoom(2); $("zoomfit").onclick = () => show(0, DURATION);
    $("helpbutton").onclick = () => $("help").showModal();
    pointers(); keys();
  }
  function drag(node, move, start) {
    node.addEventListener("pointerdown", (e) => {
      if (e.button !== 0 || (start && start(e) === false)) return;
      node.setPointerCapture(e.pointerId);
      const on = (ev) => move(ev), off = () => { node.removeEventListener("pointermove", on); node.removeEventListener("pointerup", off); node.removeEventListener("pointercancel", off); };
      node.addEventListener("pointermove", on); node.addEventListener("pointerup", off); node.addEventListener("pointercancel", off);
      move(e);
    });
  }
  function pointers() {
    const lanes = $("lanes");
    const seek = (e) => clock.seek(Math.max(state.from, Math.min(state.to, tOf(e.offsetX))));
    drag(lanes, seek, (e) => {
      if (e.offsetX >= GUTTER) return true;
      const k = Math.floor((e.offsetY - layout.classes.top) / ROW);
      if (k >= 0 && k < layout.roll.length) setClass(layout.roll[k], state.hidden.has(layout.roll[k]));
      return false;
    });
    drag($("overview"), (e) => { const [x, wide] = layout.overview, span = state.to - state.from, t = (e.offsetX - x) / wide * DURATION; if (span < DURATION - 1e-6) show(t - span / 2, span); else clock.seek(t); });
    let yaw = 0, pitch = 0, x0 = 0, y0 = 0;
    const clamp = (v) => Math.max(-89, Math.min(89, v));
    $("views").addEventListener("pointerdown", (e) => e.stopPropagation());
    drag($("stage"), (e) => {
      const dx = e.clientX - x0, dy = e.clientY - y0;
      if (state.view === "sphere") { state.yaw = yaw + dx * .4; state.pitch = clamp(pitch + dy * .4); }
      else { const step = state.look.fov / size.stage[0]; state.look.azimuth = wrap(yaw + dx * step); state.look.elevation = clamp(pitch + dy * step); }
      soon();
    }, (e) => {
      if (state.view === "picture" || state.view === "panorama") { toggle(); return false; }
      [yaw, pitch] = state.view === "sphere" ? [state.yaw, state.pitch] : [state.look.azimuth, state.look.elevation];
      [x0, y0] = [e.clientX, e.clientY];
    });
    $("stage").addEventListener("wheel", (e) => {
      if (state.view !== "around") return;
      e.preventDefault(); state.look.fov = Math.max(35, Math.min(120, state.look.fov * Math.exp(e.deltaY * .001))); soon();
    }, { passive: false });
    lanes.addEventListener("wheel", (e) => {
      if (e.ctrlKey || e.metaKey) { e.preventDefault(); zoom(Math.exp(e.deltaY * .0022), tOf(e.offsetX)); }
      else if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) { e.preventDefault(); const span = state.to - state.from; show(state.from + (e.deltaX || e.deltaY) / size.lanes[0] * span, span); }
    }, { passive: false });
    lanes.addEventListener("pointermove", (e) => {
      const tip = $("tip"), t = tOf(e.offsetX);
      if (e.offsetX < GUTTER || t > state.to || e.buttons) { tip.hidden = true; return; }
      const f = frameAt(t), lines = [`${clockText(f * FRAME, 1)} · frame ${f}`], degrees = (v) => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(0) + "°";
      for (let i = ref.first[f]; i < ref.first[f + 1]; i++) if (!state.hidden.has(ref.cls[i])) {
        const e2 = ref.partner[i];
        lines.push(`${data.classes[ref.cls[i]]}: at ${degrees(ref.az[i])}, ${degrees(ref.el[i])}` + (e2 < 0 ? " – missed" : ` – predicted ${degrees(state.est.az[e2])}, ${degrees(state.est.el[e2])} (${state.est.angle[e2].toFixed(0)}° off)`));
      }
      for (let i = state.est.first[f]; i < state.est.first[f + 1]; i++) if (state.est.status[i] === FALSE && !state.hidden.has(state.est.cls[i])) lines.push(`${data.classes[state.est.cls[i]]}: predicted ${degrees(state.est.az[i])}, ${degrees(state.est.el[i])}${hasReference ? " – false" : ""}`);
      tip.textContent = lines.join("\n"); tip.hidden = false;
      tip.style.left = Math.max(GUTTER, Math.min(e.offsetX + 14, size.lanes[0] - tip.offsetWidth - 8)) + "px"; tip.style.top = e.offsetY + 18 + "px";
    });
    lanes.addEventListener("pointerleave", () => { $("tip").hidden = true; });
  }
  function keys() {
    document.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || $("help").open || e.target.tagName === "SELECT") return;
      const inSlider = e.target.id === "threshold";
      if (inSlider && e.key.startsWith("Arrow")) return;
      const nudge = (by) => setThreshold(Math.max(data.slider[0], Math.min(data.slider[1], Math.round((+$("threshold").value + by) * 100) / 100)));
      const jump = (by) => { if (e.shiftKey) clock.seek(now() + by); else step(by); };
      const actions = {
        " ": toggle, ArrowLeft: () => jump(-1), ArrowRight: () => jump(1), Home: () => clock.seek(0), End: () => clock.seek(DURATION), "[": () => nudge(-.05), "]": () => nudge(.05),
        "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2), "0": () => show(0, DURATION), "?": () => $("help").showModal(),
        v: () => setView(VIEWS[(VIEWS.findIndex(([n]) => n === state.view) + 1) % VIEWS.length][0]), m: () => $("mute").click(),
        r: () => setShow("reference", !state.show.reference), p: () => setShow("prediction", !state.show.prediction), b: () => setShow("boxes", !state.show.boxes), l: () => setShow("labels", !state.show.labels),
        c: () => { if (hasReference) { state.colour = state.colour === "match" ? "class" : "match"; for (const b of $("classes").children) b.style.setProperty("--swatch", state.colour === "class" ? CLASS[+b.dataset.index] : "#8fa0b8"); changed(); } },
      };
      const action = actions[e.key.length === 1 ? e.key.toLowerCase() : e.key];
      if (action) { e.preventDefault(); action(); }
    });
  }
  function resize() {
    const stage = $("stage"), w = stage.clientWidth, ratio = state.view === "picture" && data.camera.kind === "perspective" ? data.camera.height / data.camera.width : .5;
    stage.style.height = w * ratio + stage.offsetHeight - stage.clientHeight + "px"; // the picture, and the border around it
    size.stage = [w, w * ratio]; size.lanes[0] = $("tracks").clientWidth; changed();
  }

  openMedia(); build();
  state.est = events(state.thresholds); match(ref, state.est);
  for (let i = 0; i < ref.n; i++) rowsOfClass.add(ref.cls[i]);
  for (let i = 0; i < state.est.n; i++) rowsOfClass.add(state.est.cls[i]);
  slider(); press(); buttons(); resize();
  new ResizeObserver(resize).observe($("stage")); window.addEventListener("resize", resize);
  const asked = /[#&]t=([\d.]+)/.exec(location.hash);
  if (asked) { if (media) media.addEventListener("loadedmetadata", () => clock.seek(+asked[1]), { once: true }); else clock.seek(+asked[1]); }

  // For tests and for scripts in the console.
  window.player = {
    data, state, get time() { return now(); }, get media() { return media; }, seek: (t) => clock.seek(t), play: () => clock.play(), pause: () => clock.pause(),
    markers: () => markers(now()), setThreshold, setClass, setView, setShow, show, xOf, get layout() { return layout; }, frame: () => frameAt(now()),
    busiest: () => { let best = 0; for (let f = 0; f < COUNT; f++) if (state.est.first[f + 1] - state.est.first[f] > state.est.first[best + 1] - state.est.first[best]) best = f; return (best + .5) * FRAME; },
    rows: () => Array.from({ length: state.est.n }, (_, i) => [state.est.frame[i], state.est.cls[i], state.est.az[i], state.est.el[i], STATUS[state.est.status[i]]]),
    referenceStatus: () => Array.from(ref.status, (s) => STATUS[s]), drawNow: () => { dirty = true; tick(); }, tick,
  };
})();
