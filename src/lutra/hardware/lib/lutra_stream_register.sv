// Output register of a valid/ready stream with room for one more beat.
//
// The spare place makes ready_o a register, so that no path leads from the sink's ready back into the block.
//
// Timing: a beat taken in one cycle is offered from the next cycle on; full throughput; data stays until it is taken.
module lutra_stream_register #(
  parameter int unsigned Bits = 1  // bits per beat
) (
  input  logic            clk_i,    // clock
  input  logic            rst_ni,   // synchronous reset, active low
  input  logic            valid_i,  // source offers data_i
  output logic            ready_o,  // data_i is taken if valid_i
  input  logic [Bits-1:0] data_i,   // beat from the source
  output logic            valid_o,  // data_o is offered
  input  logic            ready_i,  // sink takes data_o if valid_o
  output logic [Bits-1:0] data_o    // beat to the sink
);

  if (Bits < 1) begin : gen_wrong
    $error("Bits must be at least 1");
  end

  logic            valid_q, spare_valid_q;
  logic [Bits-1:0] data_q, spare_q;
  logic            advance;

  assign ready_o = !spare_valid_q;
  assign valid_o = valid_q;
  assign data_o = data_q;
  assign advance = ready_i || !valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
      spare_valid_q <= 1'b0;
    end else if (advance) begin
      valid_q <= valid_i || spare_valid_q;
      spare_valid_q <= 1'b0;
    end else if (valid_i) begin
      spare_valid_q <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      data_q <= spare_valid_q ? spare_q : data_i;
    end
    if (!spare_valid_q) begin
      spare_q <= data_i;
    end
  end

endmodule
