  input  logic clk_i,   // clock of everything
  input  logic rst_ni,  // synchronous reset, active low
  input  logic s_axi_awvalid_i,  // registers: AXI4-Lite
  output logic s_axi_awready_o,  // AWREADY
  input  logic [${map.address_bits - 1}:0] s_axi_awaddr_i,  // AWADDR
  input  logic s_axi_wvalid_i,  // WVALID
  output logic s_axi_wready_o,  // WREADY
  input  logic [31:0] s_axi_wdata_i,  // WDATA
  input  logic [3:0] s_axi_wstrb_i,  // WSTRB
  output logic s_axi_bvalid_o,  // BVALID
  input  logic s_axi_bready_i,  // BREADY
  input  logic s_axi_arvalid_i,  // ARVALID
  output logic s_axi_arready_o,  // ARREADY
  input  logic [${map.address_bits - 1}:0] s_axi_araddr_i,  // ARADDR
  output logic s_axi_rvalid_o,  // RVALID
  input  logic s_axi_rready_i,  // RREADY
  output logic [31:0] s_axi_rdata_o,  // RDATA
