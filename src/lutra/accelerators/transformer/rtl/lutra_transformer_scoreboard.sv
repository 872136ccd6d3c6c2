// Walks the program, two steps at a time: a norm, and a step of any other kind.
//
// Steps start in their order, each as soon as what computes it is free. One that starts while the other kind still runs
// may read what that writes: it follows it, row by row, until the other is over. That suffices because all other steps
// before it are over. Products and blocks follow a norm, and a norm follows them; all other steps, and the end of the
// program, wait for everything before and are waited for.
//
// Timing: start_i in t, first step fetched in t + 1, and taken in t + 2. A step is taken in the second cycle after the
// step before, or in the first one after the end of the step that it waits for, and starts in the next cycle. busy_o is 0
// in the cycle after the end has been taken.
module lutra_transformer_scoreboard #(
  parameter int unsigned AddressBits = 8  // bits of an address in the program
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   start_i,         // begin with step 0
  output logic                   busy_o,          // the program runs
  output logic                   fetch_o,         // read a step
  output logic [AddressBits-1:0] step_o,          // which; also until it is taken
  input  logic [3:0]             op_i,            // what it does
  output logic                   end_take_o,      // it is the end of the program
  output logic                   norm_take_o,     // it is a norm, and starts in the next cycle
  output logic                   norm_start_o,    // start the norm that was taken
  input  logic                   norm_done_i,     // it is done
  output logic                   norm_follows_o,  // it reads what the other step writes
  output logic                   other_take_o,    // it is not, and starts in the next cycle
  output logic                   other_start_o,   // start the other step that was taken
  input  logic                   other_done_i,    // it is done
  output logic                   other_follows_o  // it reads what the norm writes
);

  if (AddressBits < 1) begin : gen_wrong
    $error("AddressBits must be at least 1");
  end

  localparam logic [3:0] End = 4'd0, Norm = 4'd4, Product = 4'd5, Block = 4'd7;

  typedef enum logic [1:0] {Idle, Fetch, Take} state_e;
  state_e state_q;

  logic norm_busy_q, other_busy_q, in_rows_q, in_rows, free, take;

  assign in_rows = op_i == Product || op_i == Block;

  always_comb begin
    unique case (op_i)
      Norm:           free = !norm_busy_q && (!other_busy_q || in_rows_q);
      Product, Block: free = !other_busy_q;
      default:        free = !norm_busy_q && !other_busy_q;
    endcase
  end

  assign take         = state_q == Take && free;
  assign end_take_o   = take && op_i == End;
  assign norm_take_o  = take && op_i == Norm;
  assign other_take_o = take && op_i != Norm && op_i != End;
  assign busy_o       = state_q != Idle;
  assign fetch_o      = state_q == Fetch;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q         <= Idle;
      step_o          <= '0;
      norm_busy_q     <= 1'b0;
      norm_start_o    <= 1'b0;
      norm_follows_o  <= 1'b0;
      other_busy_q    <= 1'b0;
      in_rows_q       <= 1'b0;
      other_start_o   <= 1'b0;
      other_follows_o <= 1'b0;
    end else begin
      unique case (state_q)
        Idle:    if (start_i) state_q <= Fetch;
        Fetch:   state_q <= Take;
        default: if (take) state_q <= op_i == End ? Idle : Fetch;
      endcase
      step_o          <= state_q == Idle ? '0 : step_o + AddressBits'(take);
      norm_start_o    <= norm_take_o;
      norm_busy_q     <= norm_take_o || (norm_busy_q && !norm_done_i);
      norm_follows_o  <= norm_take_o ? other_busy_q && !other_done_i : norm_follows_o && !other_done_i;
      other_start_o   <= other_take_o;
      in_rows_q       <= other_take_o ? in_rows : in_rows_q;
      other_busy_q    <= other_take_o || (other_busy_q && !other_done_i);
      other_follows_o <= other_take_o ? norm_busy_q && !norm_done_i : other_follows_o && !norm_done_i;
    end
  end

endmodule
