// Packets around the transformer machine: one fills its memories; every other one is the input of a call, for which a
// packet of logits leaves.
//
// A call begins when the first beat of its input is there. Where its packet ends early, zeros take the place of the rest;
// what it has too many is dropped; both are said. Registers of streams stand on both sides, so that the machine keeps its
// clock and its cycles.
//
// Timing: input is taken from the cycle after load_i or call_i on, up to the packet's last beat. done_o comes in the cycle
// after the last word was stored, or the last logits were taken. cycles_o counts those in which the machine is busy.
module lutra_transformer_session #(
  parameter int unsigned InputBits = 16,    // of a beat of the machine's input: a power of two from 16 on
  parameter int unsigned InBits = 32,       // of the stream of packets that come: InputBits, at least 32
  parameter int unsigned LogitBits = 64,    // of a beat of the machine's logits: a power of two from 16 on
  parameter int unsigned OutBits = 64,      // of the stream of packets that leave: LogitBits, at least 32
  parameter int unsigned InUnits = 2,       // 32-bit words, or beats if they are narrower, of a beat that comes
  parameter int unsigned LargeUnits = 2,    // of the larger of a 32-bit word and a beat of the machine
  parameter bit          LargeWord = 1,     // the word is the larger one
  parameter int unsigned OutUnits = 1,      // beats of the machine's logits per beat that leaves
  parameter int unsigned CountBits = 3,     // of a number of units that wait on one side
  parameter int unsigned RowBeats = 1,      // beats of the machine's input per row
  parameter int unsigned Tokens = 0,        // how many tokens there are; 0: input is pixels
  parameter int unsigned LoadBits = 303,    // see lutra_transformer_loader, as all up to Words
  parameter int unsigned AddressBits = 24,
  parameter int unsigned Parts = 10,
  parameter logic [8*8-1:0] WordParts = {8{8'd10}},
  parameter logic [8*32-1:0] Words = {8{32'd16}}
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   load_i,          // take a packet for the memories; never while busy_o, nor with call_i
  input  logic                   call_i,          // take the input of a call; never while busy_o
  output logic                   busy_o,          // a packet is expected, or inside
  output logic                   done_o,          // it is done, for one cycle
  output logic                   loaded_o,        // the memories hold what a whole packet said, for one cycle
  output logic                   short_o,         // a packet ended early; zeros came
  output logic                   long_o,          // a packet had more than its call takes; dropped
  output logic                   holes_o,         // a beat had bytes without TKEEP before others
  output logic                   token_o,         // a token is none that the model knows
  output logic                   image_o,         // a packet for the memories does not fit the machine
  output logic [31:0]            rows_o,          // rows of input that the call has taken
  output logic [31:0]            cycles_o,        // cycles of the call
  output logic [31:0]            in_stalls_o,     // of these, cycles in which input was wanted and none was there
  output logic [31:0]            out_stalls_o,    // cycles in which logits were offered and not taken
  output logic [31:0]            sum_o,           // of the 32-bit words of the last packet for the memories
  input  logic                   s_valid_i,       // AXI4-Stream, packets that come: TVALID
  output logic                   s_ready_o,       // TREADY
  input  logic [InBits-1:0]      s_data_i,        // TDATA
  input  logic [InBits/8-1:0]    s_keep_i,        // TKEEP
  input  logic                   s_last_i,        // TLAST
  output logic                   m_valid_o,       // AXI4-Stream, packets that leave: TVALID
  input  logic                   m_ready_i,       // TREADY
  output logic [OutBits-1:0]     m_data_o,        // TDATA
  output logic [OutBits/8-1:0]   m_keep_o,        // TKEEP
  output logic                   m_last_o,        // TLAST
  output logic                   write_o,         // the machine's load port: store a word
  output logic [2:0]             memory_o,        // in which memory
  output logic [AddressBits-1:0] address_o,       // where
  output logic [LoadBits-1:0]    data_o,          // the word
  output logic                   start_o,         // the machine's start
  input  logic                   machine_busy_i,  // its program runs
  output logic                   x_valid_o,       // its input
  input  logic                   x_ready_i,       // is taken
  output logic [InputBits-1:0]   x_data_o,        // a beat
  input  logic                   y_valid_i,       // its logits
  output logic                   y_ready_o,       // are taken
  input  logic [LogitBits-1:0]   y_data_i         // a beat
);

  localparam int unsigned UnitBits = InBits / InUnits;
  localparam int unsigned SmallUnits = 1;
  localparam int unsigned RowBeatBits = RowBeats > 1 ? $clog2(RowBeats) : 1;

  if (InBits < 32 || OutBits < 32 || InBits < InputBits || OutBits != OutUnits * LogitBits ||
      UnitBits != (InputBits < 32 ? InputBits : 32) || RowBeats < 1 || InBits < 32 * (LargeWord ? 1 : LargeUnits) ||
      LargeUnits * UnitBits != (LargeWord ? 32 : InputBits)) begin : gen_wrong
    $error("streams must be the machine's beats, at least 32 bits, in units of the smaller of those and of 32 bits");
  end

  typedef enum logic [2:0] {Idle, Load, Wait, Run, Drain} state_e;
  state_e state_q;

  logic accept_q, ended_q, taken, beat, x_valid, x_ready, x_full, x_empty, flush, wide, drained, y_empty;
  logic [CountBits-1:0] in_count, x_fill, x_wanted, y_fill;
  logic [LargeUnits*UnitBits-1:0] x_data;
  logic s_ready, holes, loaded, broken;

  // What comes, in 32-bit words for the memories, in beats for the machine.
  assign wide = (state_q == Load) == LargeWord;
  lutra_keep #(.Units(InUnits), .UnitBytes(UnitBits / 8), .CountBits(CountBits)) u_keep (
    .keep_i(s_keep_i), .count_o(in_count), .holes_o(holes)
  );
  lutra_repack #(
    .UnitBits(UnitBits), .InUnits(InUnits), .OutUnits(LargeUnits), .OutLastUnits(SmallUnits), .CountBits(CountBits)
  ) u_in (
    .clk_i, .rst_ni, .in_valid_i(s_valid_i && accept_q), .in_ready_o(s_ready), .in_data_i(s_data_i), .in_count_i(in_count),
    .out_valid_o(x_valid), .out_ready_i(x_ready), .out_data_o(x_data), .out_last_i(!wide), .flush_i(flush), .fill_o(x_fill)
  );
  assign s_ready_o = s_ready && accept_q;
  assign beat      = s_valid_i && s_ready_o;
  assign x_wanted  = wide ? CountBits'(LargeUnits) : CountBits'(SmallUnits);
  assign x_full    = x_fill >= x_wanted;
  assign x_empty   = x_fill == '0;
  assign x_ready   = state_q == Load || state_q == Drain || (state_q == Run && x_ready_i);
  assign taken     = x_valid && x_ready;
  assign flush     = ended_q && (state_q == Run || ((state_q == Load || state_q == Drain) && !x_empty));

  assign x_valid_o = state_q == Run && x_valid;
  assign x_data_o  = x_data[InputBits-1:0];
  assign start_o   = state_q == Wait && (x_valid || ended_q);

  lutra_transformer_loader #(
    .LoadBits(LoadBits), .AddressBits(AddressBits), .Parts(Parts), .WordParts(WordParts), .Words(Words)
  ) u_loader (
    .clk_i, .rst_ni, .begin_i(load_i), .valid_i(taken && state_q == Load), .data_i(x_data[31:0]), .whole_i(x_full),
    .good_o(loaded), .error_o(broken), .load_o(write_o), .memory_o, .address_o, .data_o
  );

  // What leaves. The last beat is known when the machine has come to its end.
  assign drained = state_q == Drain;
  lutra_repack #(
    .UnitBits(LogitBits), .InUnits(1), .OutUnits(OutUnits), .OutLastUnits(OutUnits), .CountBits(CountBits), .Holds(1'b1)
  ) u_out (
    .clk_i, .rst_ni, .in_valid_i(y_valid_i), .in_ready_o(y_ready_o), .in_data_i(y_data_i), .in_count_i(CountBits'(1)),
    .out_valid_o(m_valid_o), .out_ready_i(m_ready_i), .out_data_o(m_data_o), .out_last_i(1'b0),
    .flush_i(drained && !y_empty), .fill_o(y_fill)
  );
  assign y_empty  = y_fill == '0;
  assign m_last_o = drained && y_fill <= CountBits'(OutUnits);
  for (genvar b = 0; b < OutBits / 8; b++) begin : gen_keep
    assign m_keep_o[b] = y_fill > CountBits'(b / (LogitBits / 8));
  end

  assign busy_o   = state_q != Idle;
  assign done_o   = ended_q && x_empty && ((state_q == Load && !write_o) || (drained && y_empty));
  assign loaded_o = done_o && state_q == Load && loaded;
  assign image_o  = done_o && state_q == Load && (!loaded || broken);
  assign short_o  = taken && state_q == Run && !x_full;
  assign long_o   = taken && drained;
  assign holes_o  = beat && holes;

  if (Tokens > 0) begin : gen_token
    assign token_o = taken && state_q == Run && 32'(x_data[15:0]) >= 32'(Tokens);
  end else begin : gen_pixels
    assign token_o = 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q  <= Idle;
      accept_q <= 1'b0;
      ended_q  <= 1'b0;
    end else begin
      unique case (state_q)
        Idle:    state_q <= load_i ? Load : call_i ? Wait : Idle;
        Load:    state_q <= done_o ? Idle : Load;
        Wait:    state_q <= start_o ? Run : Wait;
        Run:     state_q <= machine_busy_i ? Run : Drain;
        default: state_q <= done_o ? Idle : Drain;
      endcase
      accept_q <= accept_q ? !(beat && s_last_i) : !busy_o && (load_i || call_i);
      ended_q  <= (ended_q || (beat && s_last_i)) && !done_o;
    end
  end

  // Counters stop at their largest value.
  logic [31:0]            rows_q, cycles_q, in_stalls_q, out_stalls_q, sum_q;
  logic [RowBeatBits-1:0] row_beat_q;
  logic                   row;

  assign row = taken && state_q == Run && row_beat_q == RowBeatBits'(RowBeats - 1);
  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_o) begin
      rows_q       <= '0;
      cycles_q     <= '0;
      in_stalls_q  <= '0;
      out_stalls_q <= '0;
      row_beat_q   <= '0;
    end else begin
      rows_q       <= rows_q + 32'(row && !(&rows_q));
      cycles_q     <= cycles_q + 32'(state_q == Run && machine_busy_i && !(&cycles_q));
      in_stalls_q  <= in_stalls_q + 32'(state_q == Run && x_ready_i && !x_valid && !(&in_stalls_q));
      out_stalls_q <= out_stalls_q + 32'(m_valid_o && !m_ready_i && !(&out_stalls_q));
      if (taken && state_q == Run) begin
        row_beat_q <= row ? '0 : row_beat_q + 1'b1;
      end
    end
    if (!rst_ni || load_i) begin
      sum_q <= '0;
    end else if (taken && state_q == Load) begin
      sum_q <= sum_q + x_data[31:0];
    end
  end

  assign rows_o       = rows_q;
  assign cycles_o     = cycles_q;
  assign in_stalls_o  = in_stalls_q;
  assign out_stalls_o = out_stalls_q;
  assign sum_o        = sum_q;

endmodule
