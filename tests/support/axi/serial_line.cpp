// A board in simulation whose serial line is standard input and output, byte for byte; input 0 to 255 as such.
#include "Vtestbench.h"
#include "verilated.h"

#include <poll.h>
#include <unistd.h>

#include <cstdint>

double sc_time_stamp() { return 0; }

namespace {

struct Sender {
    std::uint32_t bits = 1;  // start, data, stop; the line is 1 when nothing is left
    int left = 0, cycles = 0;
    bool line() const { return left ? bits & 1 : true; }
    void send(std::uint8_t byte) {
        bits = byte << 1 | 0x200u;
        left = 10;
        cycles = BIT_CYCLES;
    }
    void cycle() {
        if (left && --cycles == 0) {
            bits >>= 1;
            --left;
            cycles = BIT_CYCLES;
        }
    }
};

struct Receiver {
    int at = -1, cycles = 0;
    std::uint8_t byte = 0;
    bool cycle(bool line) {  // whether a byte is complete
        if (at < 0) {
            if (!line) {
                at = 0;
                cycles = BIT_CYCLES + BIT_CYCLES / 2;
            }
            return false;
        }
        if (--cycles) return false;
        cycles = BIT_CYCLES;
        if (at == 8) {
            at = -1;
            return line;
        }
        byte = static_cast<std::uint8_t>(byte >> 1 | (line ? 0x80 : 0));
        ++at;
        return false;
    }
};

}  // namespace

int main() {
    Vtestbench board;
    Sender to_board;
    Receiver from_board;
    int quiet = 0;
    for (long cycle = 0;; ++cycle) {
        if (!to_board.left && cycle > 400) {  // the board's reset is over
            pollfd waiting{0, POLLIN, 0};
            if (quiet > 2000 || cycle % 16 == 0) {
                if (poll(&waiting, 1, quiet > 2000 ? 100 : 0) > 0) {
                    std::uint8_t byte;
                    if (read(0, &byte, 1) != 1) return 0;
                    to_board.send(byte);
                    quiet = 0;
                }
            }
        }
        ++quiet;
        board.serial_i = to_board.line();
        board.clk_i = 0;
        board.eval();
        board.clk_i = 1;
        board.eval();
        to_board.cycle();
        if (from_board.cycle(board.serial_o)) {
            quiet = 0;
            if (write(1, &from_board.byte, 1) != 1) return 1;
        }
    }
}
