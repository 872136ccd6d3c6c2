// ${core.name}: the top module of the IP core, in plain Verilog with the names of AXI, as block design tools want it.
// Registers and streams: README.md. Build ${build_hash}.
//
// Timing: as ${core.name}_axi.
module ${core.name} (
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF ${":".join(["s_axi", *(bus.name for bus in core.interfaces)])}, ASSOCIATED_RESET aresetn" *)
  input  wire aclk,
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input  wire aresetn,
% for port in ports:
  ${"input " if port.direction == "in" else "output"} wire ${f"[{port.bits - 1}:0] " if port.bits > 1 or port.vector else ""}${port.name}${"" if loop.last else ","}
% endfor
);

<%
idle = [port for port in ports if not port.inner]
unused = [port.name for port in idle if port.direction == "in"]
%>\
  // What carries nothing; every access of a register is answered OKAY.
% for port in idle:
%     if port.direction == "out":
  assign ${port.name} = ${port.bits}'d${port.constant};
%     endif
% endfor
  wire unused_inputs = ^{${", ".join(unused)}};

  ${core.name}_axi u_axi (
    .clk_i(aclk),
    .rst_ni(aresetn),
<% connected = [port for port in ports if port.inner] %>\
% for port in connected:
    .${port.inner}(${port.name})${"" if loop.last else ","}
% endfor
  );

endmodule
