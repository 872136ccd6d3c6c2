// What the two ends of the array are told of a product: where its operands lie, and what becomes of its results.
//
// Without Overlap a product is alone: both ends see its word as it stands at the input. With Overlap the operands of one
// more product are read while the results of the one before leave. A word then counts with start_i alone and is kept
// here; results of the next product are held back until the last result of the one before is written.
//
// Timing: without Overlap ready_o is 1 from the cycle after done_i on. With Overlap feed_o is the word from the cycle after
// start_i on; result_o too, or from the cycle after the done_i of the product before; and ready_o is 1 while neither
// operands are read nor two products are under way. result_start_o is 1 in the cycle before result_o changes.
module lutra_transformer_queue #(
  parameter int unsigned Bits = 8,    // of a word
  parameter bit          Overlap = 0  // two products may be under way
) (
  input  logic            clk_i,           // clock
  input  logic            rst_ni,          // synchronous reset, active low
  input  logic            start_i,         // a product starts; only while ready_o
  input  logic [Bits-1:0] word_i,          // what is to be known of it
  input  logic            feeding_i,       // operands are read
  input  logic            last_i,          // the last sums of a product leave the array
  input  logic            done_i,          // its last result is written
  output logic            ready_o,         // a product can start
  output logic [Bits-1:0] feed_o,          // of the product whose operands are read
  output logic [Bits-1:0] result_o,        // of the product whose results leave
  output logic            result_start_o,  // the next results are the first of a product
  output logic            hold_o           // sums have to wait
);

  logic running_q;  // a product whose results leave

  if (Overlap) begin : gen_two
    logic [Bits-1:0] feed_q, result_q;
    logic            waits_q, ending_q, alone;

    assign alone          = !running_q || done_i;
    assign ready_o        = !feeding_i && !waits_q;
    assign feed_o         = feed_q;
    assign result_o       = result_q;
    assign result_start_o = (start_i && alone) || (waits_q && done_i);
    assign hold_o         = ending_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        running_q <= 1'b0;
        waits_q   <= 1'b0;
        ending_q  <= 1'b0;
      end else begin
        running_q <= start_i || waits_q || (running_q && !done_i);
        waits_q   <= (start_i && !alone) || (waits_q && !done_i);
        ending_q  <= last_i || (ending_q && !done_i);
      end
      if (start_i) begin
        feed_q <= word_i;
      end
      if (result_start_o) begin
        result_q <= start_i ? word_i : feed_q;
      end
    end
  end else begin : gen_one
    assign ready_o        = !running_q;
    assign feed_o         = word_i;
    assign result_o       = word_i;
    assign result_start_o = start_i;
    assign hold_o         = 1'b0;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        running_q <= 1'b0;
      end else begin
        running_q <= start_i || (running_q && !done_i);
      end
    end

    logic unused;
    assign unused = ^{feeding_i, last_i};
  end

endmodule
