// Arduino cores: the line is Serial. Cycles are counted by the data watchpoint and trace unit of
// Armv7-M and Armv8-M Mainline.
#include <Arduino.h>

#include "port.h"
#include "serq_board.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__)
// Addresses and bits: Armv7-M Architecture Reference Manual, C1.6 (DEMCR) and C1.8 (DWT).
static volatile uint32_t *const demcr = reinterpret_cast<volatile uint32_t *>(0xE000EDFCU);
static volatile uint32_t *const dwt_control = reinterpret_cast<volatile uint32_t *>(0xE0001000U);
static volatile uint32_t *const dwt_cycles = reinterpret_cast<volatile uint32_t *>(0xE0001004U);
static volatile uint32_t *const dwt_lock_access =
    reinterpret_cast<volatile uint32_t *>(0xE0001FB0U);

// The count is not set: Teensy's micros() reads it too.
static void start_cycles()
{
    *demcr = *demcr | 1U << 24;     // TRCENA: the unit is on
    *dwt_lock_access = 0xC5ACCE55U; // a Cortex-M7 guards it with a lock; elsewhere this is ignored
    *dwt_control = *dwt_control | 1U; // CYCCNTENA
}

uint32_t port_cycles(void)
{
    return *dwt_cycles;
}
#else
static void start_cycles()
{
}

uint32_t port_cycles(void)
{
    return 0; // the core has no cycle counter
}
#endif

size_t port_poll(uint8_t *bytes, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && Serial.available() > 0) {
        bytes[count++] = static_cast<uint8_t>(Serial.read());
    }
    return count;
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    while (Serial.available() <= 0) {
        yield();
    }
    return port_poll(bytes, capacity);
}

void port_write(const uint8_t *bytes, size_t count)
{
    Serial.write(bytes, count);
}

void setup()
{
#if defined(SERQ_SERIAL_RX) && defined(SERQ_SERIAL_TX) // a variant that leaves the pins open
    Serial.setPins(SERQ_SERIAL_RX, SERQ_SERIAL_TX);
#endif
    Serial.begin(SERQ_BOARD_BAUD);
    start_cycles();
    application_run();
}

void loop()
{
}
