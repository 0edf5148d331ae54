/* ESP32 family under ESP-IDF 5: the line is UART0, which the boards' USB bridge is wired to, or the
 * chip's own USB ([port] kind). sdkconfig.defaults keeps the console and the logs off both. Waiting
 * for the host blocks the task, so the idle task runs and its watchdog is fed. */
#include "esp_cpu.h"
#include "esp_err.h"
#include "freertos/FreeRTOS.h"

#include "port.h"
#include "serq_board.h"

#define RECEIVE_BUFFER 4096 /* bytes; more than a request, so none is lost while one is served */

#if SERQ_PORT_USB_SERIAL_JTAG

#include <stdbool.h>

#include "driver/usb_serial_jtag.h"

#define TRANSMIT_BUFFER 2048
#define PIECE 512 /* of what is sent: it must fit the transmit buffer */
/* A computer takes bytes while a program has the port open. Where none has, what is sent is lost
 * after this time, and the application goes on. */
#define PATIENCE pdMS_TO_TICKS(100)

static void open_line(void)
{
    usb_serial_jtag_driver_config_t line = {
        .tx_buffer_size = TRANSMIT_BUFFER,
        .rx_buffer_size = RECEIVE_BUFFER,
    };
    ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&line));
}

static size_t take(uint8_t *bytes, size_t capacity, TickType_t patience)
{
    int count = usb_serial_jtag_read_bytes(bytes, (uint32_t)capacity, patience);
    return count > 0 ? (size_t)count : 0;
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    return take(bytes, capacity, portMAX_DELAY);
}

size_t port_poll(uint8_t *bytes, size_t capacity)
{
    return take(bytes, capacity, 0);
}

void port_write(const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        size_t piece = count < PIECE ? count : PIECE;
        if (usb_serial_jtag_write_bytes(bytes, piece, PATIENCE) <= 0) {
            return;
        }
        bytes += piece;
        count -= piece;
    }
}

#else

#include "driver/uart.h"
#include "soc/uart_pins.h"

#define NO_TRANSMIT_BUFFER 0 /* writing waits until the bytes are in the UART */

static void open_line(void)
{
    const uart_config_t line = {
        .baud_rate = SERQ_BOARD_BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
        .source_clk = UART_SCLK_DEFAULT,
    };

    ESP_ERROR_CHECK(
        uart_driver_install(UART_NUM_0, RECEIVE_BUFFER, NO_TRANSMIT_BUFFER, 0, NULL, 0));
    ESP_ERROR_CHECK(uart_param_config(UART_NUM_0, &line));
    ESP_ERROR_CHECK(uart_set_pin(UART_NUM_0, U0TXD_GPIO_NUM, U0RXD_GPIO_NUM, UART_PIN_NO_CHANGE,
                                 UART_PIN_NO_CHANGE));
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    size_t waiting = 0;
    if (uart_read_bytes(UART_NUM_0, bytes, 1, portMAX_DELAY) != 1) {
        return 0;
    }
    ESP_ERROR_CHECK(uart_get_buffered_data_len(UART_NUM_0, &waiting));
    if (waiting > capacity - 1) {
        waiting = capacity - 1;
    }
    return 1 + port_poll(bytes + 1, waiting);
}

size_t port_poll(uint8_t *bytes, size_t capacity)
{
    int count = uart_read_bytes(UART_NUM_0, bytes, (uint32_t)capacity, 0);
    return count > 0 ? (size_t)count : 0;
}

void port_write(const uint8_t *bytes, size_t count)
{
    uart_write_bytes(UART_NUM_0, bytes, count);
}

#endif

uint32_t port_cycles(void)
{
    return esp_cpu_get_cycle_count();
}

void app_main(void)
{
    open_line();
    application_run();
}
