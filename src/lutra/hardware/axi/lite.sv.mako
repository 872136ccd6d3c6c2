  logic write;
  logic [${map.address_bits - 3}:0] write_address, read_address;
  logic [31:0] write_data, read_data;
  logic [3:0]  write_strobe;
  lutra_axi_lite #(.AddressBits(${map.address_bits})) u_axi_lite (
    .clk_i, .rst_ni,
    .awvalid_i(s_axi_awvalid_i), .awready_o(s_axi_awready_o), .awaddr_i(s_axi_awaddr_i),
    .wvalid_i(s_axi_wvalid_i), .wready_o(s_axi_wready_o), .wdata_i(s_axi_wdata_i), .wstrb_i(s_axi_wstrb_i),
    .bvalid_o(s_axi_bvalid_o), .bready_i(s_axi_bready_i),
    .arvalid_i(s_axi_arvalid_i), .arready_o(s_axi_arready_o), .araddr_i(s_axi_araddr_i),
    .rvalid_o(s_axi_rvalid_o), .rready_i(s_axi_rready_i), .rdata_o(s_axi_rdata_o),
    .write_o(write), .write_address_o(write_address), .write_data_o(write_data), .write_strobe_o(write_strobe),
    .read_address_o(read_address), .read_data_i(read_data)
  );
