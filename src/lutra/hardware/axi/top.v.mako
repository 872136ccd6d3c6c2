<%
x, y = core.input, core.output
%>\
// ${core.name}: the top module of the IP core, in plain Verilog with the names of AXI, as block design tools want it.
// Registers and streams: README.md. Build ${build_hash}.
//
// Timing: as ${core.name}_axi.
module ${core.name} (
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF s_axi:s_axis:m_axis, ASSOCIATED_RESET aresetn" *)
  input  wire aclk,
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input  wire aresetn,
% for port in ports:
  ${"input " if port.direction == "in" else "output"} wire ${f"[{port.bits - 1}:0] " if port.bits > 1 or port.vector else ""}${port.name}${"" if loop.last else ","}
% endfor
);

  // Whatever the protection is, every access is answered OKAY.
  assign s_axi_bresp = 2'b00;
  assign s_axi_rresp = 2'b00;
  wire unused_protection = ^{s_axi_awprot, s_axi_arprot};

  ${core.name}_axi u_axi (
    .clk_i(aclk),
    .rst_ni(aresetn),
<% connected = [port for port in ports if port.inner] %>\
% for port in connected:
    .${port.inner}(${port.name})${"" if loop.last else ","}
% endfor
  );

endmodule
