// Runs a board's SystemClock_Config() against made-up oscillators: what comes in is what the arguments say, and
// what the core, its buses and its flash are then set to is printed. "none": no clock from the debugger.
#include <Arduino.h>

#include <cstdio>
#include <cstdlib>

extern "C" void SystemClock_Config(void);

static bool external;
static double pll_hz;

uint32_t HAL_RCC_OscConfig(RCC_OscInitTypeDef *oscillator)
{
    double source = 0;
    if (oscillator->OscillatorType == RCC_OSCILLATORTYPE_HSE) {
        if (!external || oscillator->HSEState != RCC_HSE_BYPASS || oscillator->PLL.PLLSource != RCC_PLLSOURCE_HSE) {
            return HAL_ERROR;
        }
        source = 8e6;
    } else if (oscillator->OscillatorType == RCC_OSCILLATORTYPE_HSI) {
        source = oscillator->PLL.PLLSource == RCC_PLLSOURCE_HSI ? 16e6 : 0;
    } else {
        source = oscillator->PLL.PLLSource == RCC_PLLSOURCE_MSI ? 4e6 : 0;
    }
#ifdef DIVIDED_BY_P
    uint32_t last = oscillator->PLL.PLLP;
#else
    uint32_t last = oscillator->PLL.PLLR;
#endif
    pll_hz = source / oscillator->PLL.PLLM * oscillator->PLL.PLLN / last;
    printf("%s ", oscillator->OscillatorType == RCC_OSCILLATORTYPE_HSE ? "external" : "internal");
    return HAL_OK;
}

uint32_t HAL_RCC_ClockConfig(RCC_ClkInitTypeDef *clocks, uint32_t latency)
{
    printf("%.0f %.0f %.0f %u\n", pll_hz / clocks->AHBCLKDivider, pll_hz / clocks->APB1CLKDivider,
           pll_hz / clocks->APB2CLKDivider, static_cast<unsigned>(latency));
    return clocks->SYSCLKSource == RCC_SYSCLKSOURCE_PLLCLK && clocks->ClockType == 15 ? HAL_OK : HAL_ERROR;
}

uint32_t HAL_PWREx_EnableOverDrive()
{
    return HAL_OK;
}

void Error_Handler()
{
    exit(1);
}

int main(int count, char **arguments)
{
    external = count > 1 && strcmp(arguments[1], "none") != 0;
    SystemClock_Config();
}
