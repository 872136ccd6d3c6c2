// Bytes to a serial line: eight bits, lowest first, no parity, one stop bit.
//
// Timing: ready_o is a register; a byte takes ten times BitCycles.
module lutra_uart_send #(
  parameter int unsigned BitCycles = 25,  // cycles per bit, at least 2
  parameter int unsigned CountBits = 8    // of a number of cycles up to BitCycles
) (
  input  logic       clk_i,    // clock
  input  logic       rst_ni,   // synchronous reset, active low
  input  logic       valid_i,  // a byte is offered
  output logic       ready_o,  // it is taken
  input  logic [7:0] data_i,   // the byte
  output logic       line_o    // the line
);

  if (BitCycles < 2 || 2**CountBits < BitCycles) begin : gen_wrong
    $error("BitCycles must be at least 2, and CountBits enough for it");
  end

  logic [9:0] bits_q;  // start, data, stop; 1s follow
  logic [3:0] left_q;
  logic [CountBits-1:0] count_q;

  assign ready_o = left_q == '0;
  assign line_o  = bits_q[0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bits_q  <= '1;
      left_q  <= '0;
      count_q <= '0;
    end else if (ready_o) begin
      if (valid_i) begin
        bits_q  <= {1'b1, data_i, 1'b0};
        left_q  <= 4'd10;
        count_q <= CountBits'(BitCycles - 1);
      end
    end else if (count_q != '0) begin
      count_q <= count_q - 1'b1;
    end else begin
      bits_q  <= {1'b1, bits_q[9:1]};
      left_q  <= left_q - 1'b1;
      count_q <= CountBits'(BitCycles - 1);
    end
  end

endmodule
