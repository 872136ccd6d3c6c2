<%!
    def classed(position):
        return "" if position == 0 else ' class="number"'
%>
<%def name="table(content)">
<h3>${content.title}</h3>
<div class="scroll" tabindex="0" role="region" aria-label="${content.title}">
<table>
<thead><tr>${"".join(f'<th scope="col"{classed(i)}>{as_html(name)}</th>' for i, name in enumerate(content.header)) | n}</tr></thead>
<tbody>
% for row in content.rows:
<tr>${"".join(f'<th scope="row">{as_html(cell)}</th>' if i == 0 else f'<td class="number">{as_html(cell)}</td>' for i, cell in enumerate(row)) | n}</tr>
% endfor
</tbody>
</table>
</div>
</%def>
<%def name="missing(section)">
<p class="missing">${section.missing}</p>
</%def>
<%def name="figure(wide, narrow, caption)">
<figure>
<div class="wide">${wide | n}</div>
<div class="narrow">${narrow | n}</div>
<figcaption>${caption}</figcaption>
</figure>
</%def>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${page.name}: Lutra report</title>
<style>
:root { ${page.css_light} color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { ${page.css_dark} } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1, h2, .lead, .figure { font-family: "Iowan Old Style", Charter, "Palatino Linotype", Georgia, serif; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.2; font-weight: 600; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; font-weight: 600; margin: 3.2rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--rule); }
p, ul, ol { max-width: 44rem; margin: 0 0 1rem; }
li { margin-bottom: .3rem; }
.kicker { color: var(--muted); font-size: .9rem; margin: 0 0 .8rem; overflow-wrap: anywhere; }
.lead { font-size: 1.22rem; line-height: 1.5; max-width: 46rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 1rem; margin: 2rem 0 0; padding: 0; }
.figures div { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .9rem 1rem; }
.figures dt { color: var(--muted); font-size: .84rem; line-height: 1.35; }
.figures dd { margin: .25rem 0 0; }
.figure { font-size: 1.75rem; line-height: 1.2; font-variant-numeric: lining-nums tabular-nums; }
.unit { color: var(--muted); font-size: .84rem; display: block; }
.good { color: var(--ours); } .bad { color: var(--mlp); }
figure { margin: 1.4rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
figcaption { color: var(--muted); font-size: .88rem; margin-top: .6rem; max-width: 44rem; }
.narrow { display: none; }
.scroll { overflow-x: auto; margin: 0 0 1.4rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
h3 { font-size: .95rem; font-weight: 600; margin: 1.6rem 0 .3rem; }
th, td { padding: .42rem 1.1rem .42rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { color: var(--muted); font-weight: 500; font-size: .84rem; vertical-align: bottom; }
thead .number { white-space: normal; min-width: 4.4rem; }
tbody th { font-weight: 400; min-width: 9rem; }
.number { text-align: right; white-space: nowrap; } th.number:last-child, td.number:last-child { padding-right: 0; }
pre, blockquote {
  background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: 1rem 1.2rem; margin: 1.2rem 0;
  font: .86rem/1.55 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
.missing { border-left: 3px solid var(--rule); padding-left: .9rem; color: var(--muted); }
.warning { border-left: 3px solid var(--mlp); padding-left: .9rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: .86rem; margin-top: 3rem; }
@media (max-width: 640px) {
  main { padding: 2rem 1.1rem 3rem; }
  .wide { display: none; } .narrow { display: block; }
  .figures { grid-template-columns: 1fr 1fr; gap: .7rem; }
  .figure { font-size: 1.4rem; }
  h2 { margin-top: 2.4rem; }
}
@media print { .scroll { overflow: visible; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header>
<p class="kicker">Lutra report · ${page.kicker}</p>
<h1>${page.name}</h1>
<p class="lead">${page.result}</p>
% if page.figures:
<dl class="figures">
% for item in page.figures:
<div><dt>${item.label}</dt><dd><span class="figure ${item.tone}">${item.value}</span><span class="unit">${item.unit}</span></dd></div>
% endfor
</dl>
% endif
</header>
% for warning in page.warnings:
<p class="warning">${warning}</p>
% endfor

% for section in page.sections:
<section id="${section.key}">
<h2>${section.title}</h2>
% for paragraph in section.paragraphs:
<p>${paragraph}</p>
% endfor
% if section.missing:
${missing(section)}
% endif
% if section.wide:
${figure(section.wide, section.narrow, section.caption)}
% endif
% for content in section.tables:
${table(content)}
% endfor
% if section.sample:
<blockquote>${section.sample}</blockquote>
% endif
% if section.points:
<ul>
% for point in section.points:
<li>${point}</li>
% endfor
</ul>
% endif
% if section.commands:
<pre>${section.commands}</pre>
% endif
</section>
% endfor
<footer>Written by Lutra ${page.version} from the files of the run directory; nothing on this page was typed by hand.</footer>
</main>
</body>
</html>
