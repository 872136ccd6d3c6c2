// Bytes from a serial line: eight bits, lowest first, no parity, one stop bit.
//
// Timing: a byte is there for one cycle, half a bit before its stop bit ends. A line that stays low for longer than a byte is
// a break, said until it ends.
module lutra_uart_receive #(
  parameter int unsigned BitCycles = 25,  // cycles per bit, at least 4
  parameter int unsigned CountBits = 8    // of a number of cycles up to BitCycles
) (
  input  logic       clk_i,    // clock
  input  logic       rst_ni,   // synchronous reset, active low
  input  logic       line_i,   // the line, from any clock
  output logic       valid_o,  // a byte has come
  output logic [7:0] data_o,   // the byte
  output logic       break_o   // the line is held low
);

  if (BitCycles < 4 || 2**CountBits < BitCycles) begin : gen_wrong
    $error("BitCycles must be at least 4, and CountBits enough for it");
  end

  logic [1:0] line_q;
  logic       busy_q, valid_q, break_q;
  logic [3:0] bit_q;
  logic [7:0] data_q;
  logic [CountBits-1:0] count_q;

  // Samples lie in the middle of bits; bit 0 is the start bit, bit 9 the stop bit.
  always_ff @(posedge clk_i) begin
    line_q <= {line_q[0], line_i};
    valid_q <= 1'b0;
    if (!rst_ni) begin
      line_q  <= 2'b11;
      busy_q  <= 1'b0;
      break_q <= 1'b0;
    end else if (break_q) begin
      break_q <= !line_q[1];
    end else if (!busy_q) begin
      busy_q  <= !line_q[1];
      bit_q   <= '0;
      count_q <= CountBits'(BitCycles / 2 - 1);
    end else if (count_q != '0) begin
      count_q <= count_q - 1'b1;
    end else begin
      count_q <= CountBits'(BitCycles - 1);
      bit_q   <= bit_q + 1'b1;
      if (bit_q == 4'd0) begin
        busy_q <= !line_q[1];
      end else if (bit_q == 4'd9) begin
        busy_q  <= 1'b0;
        valid_q <= line_q[1];
        break_q <= !line_q[1];
      end else begin
        data_q <= {line_q[1], data_q[7:1]};
      end
    end
  end

  assign valid_o = valid_q;
  assign data_o  = data_q;
  assign break_o = break_q;

endmodule
