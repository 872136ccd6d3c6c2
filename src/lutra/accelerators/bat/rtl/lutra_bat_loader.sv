// Loads the steps of a program one after the other, each into the bank that the step before the last one has left: its
// instruction, then what it names of weights, factors, biases, gains and tables, which lie one after the other in memory.
//
// A word of each kind is padded to whole beats of 128 bits. A step's bank is the lowest bit of its number.
//
// Timing: waits for a free bank, asks for the instruction in the next cycle, for the rest in the cycle after the
// instruction's last beat; takes every beat at once. loaded_o rises in the cycle after the last beat.
module lutra_bat_loader #(
  parameter int unsigned YBeats = 16,       // beats of a word of weights
  parameter int unsigned VectorBeats = 4,   // of a word of the vector unit
  parameter int unsigned QuantiseBeats = 4, // of a word of the quantisation unit
  parameter int unsigned NormBeats = 1,     // of a word of the layer norm
  parameter int unsigned TableBeats = 6,    // of the tables of quantisers
  parameter int unsigned PartBits = 5       // of the number of a beat in a word
) (
  input  logic          clk_i,             // clock
  input  logic          rst_ni,            // synchronous reset, active low
  input  logic          start_i,           // begin with the first step
  input  logic [31:0]   program_i,         // address of its instruction, stays until the last step is loaded
  input  logic          done_i,            // the step that runs is done: its bank is free
  output logic [1:0]    loaded_o,          // banks that hold a step
  output logic [1023:0] instruction_0_o,   // instruction in bank 0
  output logic [1023:0] instruction_1_o,   // instruction in bank 1
  output logic          read_o,            // ask memory for beats
  output logic [31:0]   read_address_o,    // from this address on
  output logic [23:0]   read_beats_o,      // how many
  input  logic          valid_i,           // a beat from memory
  output logic          ready_o,           // it is taken
  input  logic [127:0]  data_i,            // the beat
  output logic          bank_o,            // bank that is written
  output logic [5:0]    write_o,           // which memory: weights, factors, vector and quantiser biases, gains, norm biases
  output logic          write_table_o,     // the tables of quantisers
  output logic [15:0]   address_o,         // word
  output logic [PartBits-1:0] part_o,      // its 128 bits
  output logic [127:0]  data_o             // what is written
);

  localparam int unsigned Beats = 8;  // of an instruction
  localparam logic [2:0]  LastBeat = 3'(Beats - 1);
  localparam logic [2:0]  Tables = 3'd6;

  typedef enum logic [1:0] {Stopped, Free, Fetch, Fill} state_e;

  state_e              state_q;
  logic                bank_q, asked_q;
  logic [1:0]          loaded_q;
  logic [31:0]         next_q;  // address of the next instruction
  logic [2:0]          beat_q, section_q;
  logic [15:0]         word_q;
  logic [PartBits-1:0] part_q;
  logic [1023:0]       instruction_q [0:1];

  assign loaded_o        = loaded_q;
  assign instruction_0_o = instruction_q[0];
  assign instruction_1_o = instruction_q[1];

  // The step that is loaded: words of each section, in the order of memory.
  logic [1023:0] instruction;
  logic [95:0]   words;
  logic          last_step;

  assign instruction = instruction_q[bank_q];
  assign words       = instruction[52*16 +: 96];
  assign last_step   = instruction[16];

  logic unused;

  assign unused = ^instruction;

  // The section after a given one: the next that has words, or the tables.
  function automatic logic [2:0] following(input logic [95:0] counts, input logic [2:0] from);
    following = Tables;
    for (integer s = 5; s >= 0; s = s - 1) begin
      if (s >= 32'(from) && counts[16*s +: 16] != '0) begin
        following = 3'(s);
      end
    end
  endfunction

  logic [PartBits-1:0] last_part;
  logic [15:0]         last_word;
  logic                part_end, word_end, all_end;

  always_comb begin
    case (section_q)
      3'd0:       last_part = PartBits'(YBeats - 1);
      3'd1, 3'd2: last_part = PartBits'(VectorBeats - 1);
      3'd3:       last_part = PartBits'(QuantiseBeats - 1);
      3'd4, 3'd5: last_part = PartBits'(NormBeats - 1);
      default:    last_part = PartBits'(TableBeats - 1);
    endcase
    last_word = section_q == Tables ? '0 : words[16*section_q +: 16] - 1'b1;
    part_end  = part_q == last_part;
    word_end  = part_end && word_q == last_word;
    all_end   = word_end && section_q == Tables;
  end

  assign read_o         = (state_q == Fetch || state_q == Fill) && !asked_q;
  assign read_address_o = state_q == Fetch ? next_q : instruction[48*16 +: 32];
  assign read_beats_o   = state_q == Fetch ? 24'(Beats) : instruction[50*16 +: 24];
  assign ready_o        = asked_q;
  assign bank_o         = bank_q;
  assign address_o      = word_q;
  assign part_o         = part_q;
  assign data_o         = data_i;
  assign write_table_o  = state_q == Fill && asked_q && valid_i && section_q == Tables;

  for (genvar s = 0; s < 6; s++) begin : gen_write
    assign write_o[s] = state_q == Fill && asked_q && valid_i && section_q == 3'(s);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q  <= Stopped;
      bank_q   <= 1'b0;
      asked_q  <= 1'b0;
      loaded_q <= '0;
    end else begin
      case (state_q)
        Stopped: begin
          if (start_i) begin
            state_q <= Free;
            next_q  <= program_i;
          end
        end
        Free: begin
          if (!loaded_q[bank_q]) begin
            state_q <= Fetch;
            beat_q  <= '0;
          end
        end
        Fetch: begin
          asked_q <= 1'b1;
          if (asked_q && valid_i) begin
            instruction_q[bank_q] <= {data_i, instruction[1023:128]};
            beat_q                <= beat_q + 1'b1;
            if (beat_q == LastBeat) begin
              state_q <= Fill;
              asked_q <= 1'b0;
              next_q  <= next_q + 32'(16 * Beats);
            end
          end
        end
        default: begin
          if (!asked_q) begin
            asked_q   <= 1'b1;
            section_q <= following(words, 3'd0);
            word_q    <= '0;
            part_q    <= '0;
          end else if (valid_i) begin
            part_q <= part_end ? '0 : part_q + 1'b1;
            if (word_end) begin
              section_q <= following(words, section_q + 3'd1);
              word_q    <= '0;
            end else if (part_end) begin
              word_q <= word_q + 1'b1;
            end
            if (all_end) begin
              loaded_q[bank_q] <= 1'b1;
              bank_q           <= !bank_q;
              asked_q          <= 1'b0;
              state_q          <= last_step ? Stopped : Free;
            end
          end
        end
      endcase
      if (done_i) begin
        loaded_q[running_q] <= 1'b0;
      end
    end
  end

  // The bank of the step that runs.
  logic running_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
    end else if (done_i) begin
      running_q <= !running_q;
    end
  end

endmodule
