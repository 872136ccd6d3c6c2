<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${page.name}: Lutra, space of hardware</title>
<style>
:root { ${page.css_light} color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { ${page.css_dark} } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1, h2, .lead { font-family: "Iowan Old Style", Charter, "Palatino Linotype", Georgia, serif; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.2; font-weight: 600; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; font-weight: 600; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
p, ul { max-width: 46rem; margin: 0 0 1rem; }
.kicker { color: var(--muted); font-size: .9rem; margin: 0 0 .8rem; }
.lead { font-size: 1.2rem; line-height: 1.5; }
.controls {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .9rem 1.4rem;
  background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: 1rem 1.2rem; margin: 1.4rem 0;
}
.controls label { display: block; color: var(--muted); font-size: .86rem; }
.controls output { color: var(--ink); font-weight: 600; float: right; }
.controls input, .controls select { width: 100%; margin: .25rem 0 0; font: inherit; color: inherit; accent-color: var(--ours); }
.controls select { background: var(--paper); border: 1px solid var(--rule); border-radius: 4px; padding: .2rem .3rem; }
.controls [hidden] { display: none; }
.plot { position: relative; }
svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
svg text { fill: var(--muted); font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
svg text.strong { fill: var(--ink); font-weight: 600; }
svg .rule { stroke: var(--rule); } svg .axis { stroke: var(--muted); }
svg .limit { stroke: var(--mlp); stroke-dasharray: 6 4; stroke-width: 1.5; }
svg .pareto { stroke: #d0342c; stroke-width: 2; }
svg .mark { fill: none; stroke: var(--ink); stroke-width: 2.5; }
svg circle:focus, svg path:focus { outline: 2px solid var(--ink); }
.tip {
  position: absolute; pointer-events: none; background: var(--card); color: var(--ink); border: 1px solid var(--rule);
  border-radius: 6px; padding: .55rem .75rem; font-size: .86rem; line-height: 1.45; box-shadow: 0 2px 10px #0003;
  max-width: min(19rem, 88vw); z-index: 2;
}
.tip strong { display: block; } .tip[hidden] { display: none; }
.legend { color: var(--muted); font-size: .86rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .4rem 0 1rem; }
.legend i { display: inline-block; width: .75rem; height: .75rem; border-radius: 50%; margin-right: .4rem; vertical-align: -1px; }
.legend .ramp { width: 4.5rem; border-radius: 3px; background: linear-gradient(90deg, hsl(265 60% 50%), hsl(165 60% 42%), hsl(65 70% 45%)); }
.scroll { overflow-x: auto; margin: 0 0 1.4rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem 1rem .38rem 0; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--muted); font-weight: 500; font-size: .84rem; }
footer { color: var(--muted); font-size: .86rem; margin-top: 3rem; }
@media (max-width: 640px) { main { padding: 1.8rem 1.1rem 3rem; } .controls { padding: .8rem .9rem; } }
</style>
</head>
<body>
<main>
<header>
<p class="kicker">Lutra, a space of hardware · ${page.kicker}</p>
<h1>${page.name}</h1>
<p class="lead">${page.lead}</p>
</header>
<div class="controls">
<label>Height of the plot<select id="axis"></select></label>
<label>Model<select id="model"></select></label>
<label>Resources from<select id="column"></select></label>
<label>Share of the device, at most <output id="fraction-value"></output><input id="fraction" type="range" min="5" max="100" step="1"></label>
<label id="p_pe-label">p_pe, products of a dot product unit <output id="p_pe-value"></output><input id="p_pe" type="range" min="0" step="1"></label>
<label>Clock <output id="clock-value"></output><input id="clock" type="range" min="50" max="500" step="5"></label>
<label id="variant-label">Softmax lanes and sums<select id="variant"></select></label>
</div>
<div class="plot" id="plot"><svg id="figure" role="img" aria-label="Latency of two sentences against accuracy, or the share of the device"></svg><div class="tip" id="tip" hidden></div></div>
<p class="legend" id="legend"></p>
<p id="summary" aria-live="polite"></p>
% for paragraph in page.paragraphs:
<p>${paragraph}</p>
% endfor
<h2>The fastest within the limits, by model</h2>
<div class="scroll" tabindex="0" role="region" aria-label="The fastest configuration of each model"><table><thead><tr><th>model</th><th>accuracy</th><th>R</th><th>ms</th><th>MHA: p_dpu, p_quan, p_vu, p_ln</th><th>FFN</th><th>device</th></tr></thead><tbody id="rows"></tbody></table></div>
<h2>How to read this</h2>
<ul>
% for note in page.notes:
<li>${note}</li>
% endfor
</ul>
<footer>Written by Lutra ${page.version}; nothing on this page was typed by hand.</footer>
</main>
<script type="application/json" id="data">${page.data | n}</script>
<script>
${page.script | n}
</script>
</body>
</html>
