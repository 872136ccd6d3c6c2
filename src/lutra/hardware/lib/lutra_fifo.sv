// First-in first-out memory whose places are reserved before they are written, so that a pipeline that cannot stop may
// fill it.
//
// Timing: what is written in one cycle is offered from the next cycle on; a place that is read in one cycle can be
// reserved in the next. Reading is asynchronous, as the memory in lookup tables of an FPGA does it.
module lutra_fifo #(
  parameter int unsigned Bits = 8,        // of a word
  parameter int unsigned AddressBits = 4  // 2**AddressBits words
) (
  input  logic            clk_i,      // clock
  input  logic            rst_ni,     // synchronous reset, active low
  output logic            room_o,     // a place can be reserved
  input  logic            reserve_i,  // reserve a place; only with room_o
  input  logic            write_i,    // fill the oldest place that is reserved, or is reserved in this cycle
  input  logic [Bits-1:0] data_i,     // the word for it
  output logic            valid_o,    // data_o is there
  input  logic            read_i,     // data_o is taken; only with valid_o
  output logic [Bits-1:0] data_o      // the oldest word
);

  if (Bits < 1 || AddressBits < 1) begin : gen_wrong
    $error("Bits and AddressBits must be at least 1");
  end

  localparam int unsigned CountBits = AddressBits + 1;

  (* ram_style = "distributed" *) logic [Bits-1:0] words [0:2**AddressBits-1];
  logic [AddressBits-1:0] write_q, read_q;
  logic [CountBits-1:0]   reserved_q, filled_q;

  assign room_o  = !reserved_q[AddressBits];
  assign valid_o = filled_q != '0;
  assign data_o  = words[read_q];

  always_ff @(posedge clk_i) begin
    if (write_i) begin
      words[write_q] <= data_i;
    end
    if (!rst_ni) begin
      write_q    <= '0;
      read_q     <= '0;
      reserved_q <= '0;
      filled_q   <= '0;
    end else begin
      write_q    <= write_q + AddressBits'(write_i);
      read_q     <= read_q + AddressBits'(read_i);
      reserved_q <= reserved_q + CountBits'(reserve_i) - CountBits'(read_i);
      filled_q   <= filled_q + CountBits'(write_i) - CountBits'(read_i);
    end
  end

endmodule
