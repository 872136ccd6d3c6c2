CAPI=2:
# FuseSoC: `fusesoc --cores-root . run --target ${"sim" if simulated_here else "lint"} ${vlnv.fusesoc}` from the folder of this file.
name: "${vlnv.fusesoc}"
description: "${core.description}, build ${build_hash}"

filesets:
  rtl:
    files:
% for source in sources:
      - rtl/${source}: {file_type: ${"systemVerilogSource" if source.endswith(".sv") else "verilogSource"}}
% endfor
% for source in data:
      - rtl/${source}: {file_type: user, copyto: ${source}}
% endfor
% if simulated_here:
  simulation:
    files:
      - driver/c/${core.name}.h: {file_type: cSource, is_include_file: true}
      - driver/c/${core.name}.c: {file_type: cSource}
      - sim/simulate.cpp: {file_type: cppSource}
%     for vector in vectors:
      - ${vector}: {file_type: user, copyto: ${vector}}
%     endfor
% endif

targets:
  default:
    filesets: [rtl]
    toplevel: ${core.name}
  lint:
    default_tool: verilator
    filesets: [rtl]
    toplevel: ${core.name}
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall, --replication-limit, "16777216"]
% if simulated_here:
  sim:
    default_tool: verilator
    filesets: [rtl, simulation]
    toplevel: ${core.name}
    tools:
      verilator:
        mode: cc
        verilator_options: [--no-timing, -DLUTRA_FAST_SIMULATION, --replication-limit, "16777216", --output-split, "20000",
          --output-split-cfuncs, "1000"]
% endif
