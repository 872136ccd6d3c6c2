CAPI=2:
# FuseSoC: `fusesoc --cores-root . run --target sim ${vlnv.fusesoc}` from the folder of this file.
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
  simulation:
    files:
      - driver/c/${core.name}.h: {file_type: cSource, is_include_file: true}
      - driver/c/${core.name}.c: {file_type: cSource}
% for header in simulation.headers:
      - sim/${header}: {file_type: cppSource, is_include_file: true}
% endfor
      - sim/simulate.cpp: {file_type: cppSource}
% for file in (*simulation.vectors, *simulation.images):
      - ${file}: {file_type: user, copyto: ${file}}
% endfor

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
  sim:
    default_tool: verilator
    filesets: [rtl, simulation]
    toplevel: ${core.name}
    tools:
      verilator:
        mode: cc
        verilator_options: [--no-timing, -DLUTRA_FAST_SIMULATION, --replication-limit, "16777216", --output-split, "20000",
          --output-split-cfuncs, "1000"]
