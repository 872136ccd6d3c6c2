// The program of a machine: its memory, and what starts its steps.
//
// Without Overlap a step is alone. With Overlap a norm and a step of any other kind can be under way together (see
// lutra_transformer_scoreboard); the word of each is kept here until the next one of its kind.
//
// Timing: start_i in t, first step fetched in t + 1; further that of lutra_transformer_controller, or of the scoreboard.
// A step's word stands from its start to the start of the next one of its kind.
module lutra_transformer_program #(
  parameter int unsigned Words = 16,       // steps
  parameter int unsigned StepBits = 303,   // bits of a step
  parameter int unsigned AddressBits = 4,  // bits of an address
  parameter bit          Overlap = 0       // a norm and another step can be under way together
) (
  input  logic                   clk_i,            // clock
  input  logic                   rst_ni,           // synchronous reset, active low
  input  logic                   write_i,          // store a step
  input  logic [AddressBits-1:0] write_address_i,  // where
  input  logic [StepBits-1:0]    data_i,           // the step
  input  logic                   start_i,          // run the program
  output logic                   busy_o,           // it runs
  output logic                   taken_o,          // a step is fetched; with Overlap it is taken
  output logic [AddressBits-1:0] step_o,           // which
  output logic [AddressBits-1:0] other_step_o,     // which step the last one is that is no norm
  output logic [StepBits-1:0]    other_word_o,     // its word
  output logic                   other_start_o,    // it starts
  input  logic                   other_done_i,     // it is done
  output logic                   other_follows_o,  // it reads what the norm writes
  output logic [AddressBits-1:0] norm_step_o,      // which step the last norm is
  output logic                   norm_start_o,     // it starts
  input  logic                   norm_done_i,      // it is done
  output logic                   norm_follows_o,   // it reads what the other step writes
  output logic [15:0]            norm_rows_o,      // its fields: rows; 0: all of the call
  output logic [15:0]            norm_beats_o,     // beats of a row
  output logic [4:0]             norm_shift_o,     // bits that are rounded away
  output logic [23:0]            norm_constants_o,  // where gains and biases begin
  output logic [23:0]            norm_destination_o,  // where results begin
  output logic [10:0]            norm_width_o,     // columns of the model
  output logic [49:0]            norm_epsilon_o    // what keeps a variance from 0
);

  localparam logic [3:0] Norm = 4'd4;

  logic                fetch;
  logic [StepBits-1:0] word, norm_word;

  lutra_memory #(.Words(Words), .Bits(StepBits), .AddressBits(AddressBits)) u_memory (
    .clk_i, .write_i, .write_address_i, .data_i, .read_i(fetch), .clear_i(1'b0), .read_address_i(step_o), .data_o(word)
  );

  if (Overlap) begin : gen_scoreboard
    logic norm_take, other_take, end_take;

    lutra_transformer_scoreboard #(.AddressBits(AddressBits)) u_scoreboard (
      .clk_i, .rst_ni, .start_i, .busy_o, .fetch_o(fetch), .step_o, .op_i(word[3:0]), .end_take_o(end_take),
      .norm_take_o(norm_take), .norm_start_o, .norm_done_i, .norm_follows_o,
      .other_take_o(other_take), .other_start_o, .other_done_i, .other_follows_o
    );
    assign taken_o = norm_take || other_take || end_take;

    always_ff @(posedge clk_i) begin
      if (norm_take) begin
        norm_word   <= word;
        norm_step_o <= step_o;
      end
      if (other_take) begin
        other_word_o <= word;
        other_step_o <= step_o;
      end
    end
  end else begin : gen_controller
    logic start;

    lutra_transformer_controller #(.AddressBits(AddressBits)) u_controller (
      .clk_i, .rst_ni, .start_i, .busy_o, .fetch_o(fetch), .step_o, .op_i(word[3:0]), .unit_start_o(start),
      .unit_done_i(norm_done_i || other_done_i)
    );
    assign taken_o         = fetch;
    assign norm_step_o     = step_o;
    assign norm_word       = word;
    assign norm_start_o    = start && word[3:0] == Norm;
    assign norm_follows_o  = 1'b0;
    assign other_step_o    = step_o;
    assign other_word_o    = word;
    assign other_start_o   = start && word[3:0] != Norm;
    assign other_follows_o = 1'b0;
  end

  // Fields that a norm does not have.
  logic [3:0]  unused_op, unused_gain;
  logic [2:0]  unused_target;
  logic [7:0]  unused_table;
  logic [15:0] unused_tiles, unused_row, unused_multiplier, unused_heads;
  logic [23:0] unused_left, unused_right, unused_values;
  logic        unused_shift, unused_causal, unused;

  lutra_transformer_step #(.StepBits(StepBits)) u_norm (
    .word_i(norm_word), .op_o(unused_op), .target_o(unused_target), .rows_o(norm_rows_o), .inner_o(norm_beats_o),
    .column_tiles_o(unused_tiles), .shift_o({unused_shift, norm_shift_o}), .left_o(unused_left),
    .right_o(unused_right), .constants_o(norm_constants_o), .destination_o(norm_destination_o),
    .first_row_o(unused_row), .table_o(unused_table), .width_o(norm_width_o), .epsilon_o(norm_epsilon_o),
    .multiplier_o(unused_multiplier), .gain_o(unused_gain), .heads_o(unused_heads), .values_o(unused_values),
    .causal_o(unused_causal)
  );

  assign unused = ^{unused_op, unused_gain, unused_target, unused_table, unused_tiles, unused_row, unused_multiplier,
                    unused_heads, unused_left, unused_right, unused_values, unused_shift, unused_causal};

endmodule
