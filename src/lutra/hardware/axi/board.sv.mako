<% address_bits = map.address_bits %>\
// ${core.name}_board: ${core.name} behind a serial line on a board, build ${build_hash}.
//
// Timing: everything at ${f"{clock_hz / 1e6:g}"} MHz${", which the PLL makes" if pll else ""}; ${bit_cycles} cycles per bit of the serial line.
module ${core.name}_board (
  input  logic clk_i,     // clock of the board
  input  logic serial_i,  // serial line from the computer
  output logic serial_o,  // serial line to the computer
  output logic led_o      // lit while bytes of packets pass, and for a moment after
);

  logic clk, locked;
% if pll:
  ${core.name}_pll u_pll (.clkin(clk_i), .clkout0(clk), .locked);
% else:
  assign clk = clk_i;
  assign locked = 1'b1;
% endif

  // After configuration this counter begins at 0: it makes a reset then, and while the PLL has no lock.
  logic [1:0] locked_q;
  logic [7:0] count_q;
  logic rst_n;
  initial count_q = '0;
  always_ff @(posedge clk) begin
    locked_q <= {locked_q[0], locked};
    if (!locked_q[1]) begin
      count_q <= '0;
    end else if (!count_q[7]) begin
      count_q <= count_q + 1'b1;
    end
  end
  assign rst_n = count_q[7];

  logic awvalid, awready, wvalid, wready, bvalid, bready, arvalid, arready, rvalid, rready;
  logic [${address_bits - 1}:0] awaddr, araddr;
  logic [31:0] wdata, rdata;
  logic in_valid, in_ready, in_last, out_valid, out_ready, busy;
  logic [7:0] in_data, out_data;

  lutra_uart_bridge #(.AddressBits(${address_bits}), .BitCycles(${bit_cycles}), .CountBits(${(bit_cycles - 1).bit_length()})) u_bridge (
    .clk_i(clk), .rst_ni(rst_n), .line_i(serial_i), .line_o(serial_o),
    .m_axi_awvalid_o(awvalid), .m_axi_awready_i(awready), .m_axi_awaddr_o(awaddr),
    .m_axi_wvalid_o(wvalid), .m_axi_wready_i(wready), .m_axi_wdata_o(wdata),
    .m_axi_bvalid_i(bvalid), .m_axi_bready_o(bready),
    .m_axi_arvalid_o(arvalid), .m_axi_arready_i(arready), .m_axi_araddr_o(araddr),
    .m_axi_rvalid_i(rvalid), .m_axi_rready_o(rready), .m_axi_rdata_i(rdata),
    .m_axis_tvalid_o(in_valid), .m_axis_tready_i(in_ready), .m_axis_tdata_o(in_data), .m_axis_tlast_o(in_last),
    .s_axis_tvalid_i(out_valid), .s_axis_tready_o(out_ready), .s_axis_tdata_i(out_data)
  );

  logic unused_keep, unused_last, unused_interrupt;
  ${core.name}_axi u_axi (
    .clk_i(clk), .rst_ni(rst_n),
    .s_axi_awvalid_i(awvalid), .s_axi_awready_o(awready), .s_axi_awaddr_i(awaddr),
    .s_axi_wvalid_i(wvalid), .s_axi_wready_o(wready), .s_axi_wdata_i(wdata), .s_axi_wstrb_i(4'hf),
    .s_axi_bvalid_o(bvalid), .s_axi_bready_i(bready),
    .s_axi_arvalid_i(arvalid), .s_axi_arready_o(arready), .s_axi_araddr_i(araddr),
    .s_axi_rvalid_o(rvalid), .s_axi_rready_i(rready), .s_axi_rdata_o(rdata),
    .s_axis_tvalid_i(in_valid), .s_axis_tready_o(in_ready), .s_axis_tdata_i(in_data), .s_axis_tkeep_i(1'b1),
    .s_axis_tlast_i(in_last),
    .m_axis_tvalid_o(out_valid), .m_axis_tready_i(out_ready), .m_axis_tdata_o(out_data), .m_axis_tkeep_o(unused_keep),
    .m_axis_tlast_o(unused_last), .interrupt_o(unused_interrupt)
  );

  // Long enough to be seen.
  logic [21:0] lit_q;
  assign busy = in_valid || out_valid;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      lit_q <= '0;
    end else if (busy) begin
      lit_q <= '1;
    end else if (lit_q != '0) begin
      lit_q <= lit_q - 1'b1;
    end
  end
  assign led_o = ${"!" if led_low else ""}(lit_q != '0);

endmodule
