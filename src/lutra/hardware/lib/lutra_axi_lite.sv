// Slave of AXI4-Lite with 32 bits of data, in front of registers: one write and one read at a time, each answered OKAY.
//
// Address and data of a write may come in any order. Addresses without a register read 0, and writing there does
// nothing: an error response would be an abort for a processor.
//
// Timing: a write reaches the registers in the cycle after its address and data have come and is answered in the next
// one; a read is answered two cycles after its address. Every output is a register.
module lutra_axi_lite #(
  parameter int unsigned AddressBits = 7  // of the byte address
) (
  input  logic                   clk_i,            // clock
  input  logic                   rst_ni,           // synchronous reset, active low
  input  logic                   awvalid_i,        // AXI4-Lite: AWVALID
  output logic                   awready_o,        // AWREADY
  input  logic [AddressBits-1:0] awaddr_i,         // AWADDR
  input  logic                   wvalid_i,         // WVALID
  output logic                   wready_o,         // WREADY
  input  logic [31:0]            wdata_i,          // WDATA
  input  logic [3:0]             wstrb_i,          // WSTRB
  output logic                   bvalid_o,         // BVALID
  input  logic                   bready_i,         // BREADY
  input  logic                   arvalid_i,        // ARVALID
  output logic                   arready_o,        // ARREADY
  input  logic [AddressBits-1:0] araddr_i,         // ARADDR
  output logic                   rvalid_o,         // RVALID
  input  logic                   rready_i,         // RREADY
  output logic [31:0]            rdata_o,          // RDATA
  output logic                   write_o,          // write a register in this cycle
  output logic [AddressBits-3:0] write_address_o,  // which one, counted in words
  output logic [31:0]            write_data_o,     // what
  output logic [3:0]             write_strobe_o,   // which of its bytes
  output logic [AddressBits-3:0] read_address_o,   // the register that read_data_i is of, counted in words
  input  logic [31:0]            read_data_i       // its value
);

  if (AddressBits < 3) begin : gen_wrong
    $error("AddressBits must be at least 3");
  end

  logic address_full_q, data_full_q, answer_q;
  logic [AddressBits-3:0] write_address_q, read_address_q;
  logic [31:0] write_data_q, read_data_q;
  logic [3:0]  write_strobe_q;
  logic asked_q, read_valid_q;

  assign awready_o = !address_full_q;
  assign wready_o  = !data_full_q;
  assign bvalid_o  = answer_q;
  assign write_o   = address_full_q && data_full_q && !answer_q;
  assign write_address_o = write_address_q;
  assign write_data_o    = write_data_q;
  assign write_strobe_o  = write_strobe_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      address_full_q <= 1'b0;
      data_full_q    <= 1'b0;
      answer_q       <= 1'b0;
    end else begin
      address_full_q <= address_full_q ? !write_o : awvalid_i;
      data_full_q    <= data_full_q ? !write_o : wvalid_i;
      answer_q       <= answer_q ? !bready_i : write_o;
    end
    if (!address_full_q) begin
      write_address_q <= awaddr_i[AddressBits-1:2];
    end
    if (!data_full_q) begin
      write_data_q   <= wdata_i;
      write_strobe_q <= wstrb_i;
    end
  end

  assign arready_o      = !asked_q && !read_valid_q;
  assign rvalid_o       = read_valid_q;
  assign rdata_o        = read_data_q;
  assign read_address_o = read_address_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      asked_q      <= 1'b0;
      read_valid_q <= 1'b0;
    end else begin
      asked_q      <= arready_o && arvalid_i;
      read_valid_q <= asked_q || (read_valid_q && !rready_i);
    end
    if (arready_o) begin
      read_address_q <= araddr_i[AddressBits-1:2];
    end
    if (asked_q) begin
      read_data_q <= read_data_i;
    end
  end

  logic unused_bytes;
  assign unused_bytes = ^{awaddr_i[1:0], araddr_i[1:0]};

endmodule
