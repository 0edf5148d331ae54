// Nucleo-L476RG: 80 MHz from the ST-LINK's 8 MHz (a crystal, some 50 ppm) in place of the chip's RC
// oscillator (1 %), which is what the core's own function takes. Where no clock comes in, the RC
// oscillator serves, and the sample rate is as true as that.
#include <Arduino.h>

static bool start_pll(uint32_t source, uint32_t multiplier)
{
    RCC_OscInitTypeDef oscillator = {};
    if (source == RCC_PLLSOURCE_HSE) {
        oscillator.OscillatorType = RCC_OSCILLATORTYPE_HSE;
        oscillator.HSEState = RCC_HSE_BYPASS;
    } else {
        oscillator.OscillatorType = RCC_OSCILLATORTYPE_MSI;
        oscillator.MSIState = RCC_MSI_ON;
        oscillator.MSICalibrationValue = RCC_MSICALIBRATION_DEFAULT;
        oscillator.MSIClockRange = RCC_MSIRANGE_6; // 4 MHz
    }
    oscillator.PLL.PLLState = RCC_PLL_ON;
    oscillator.PLL.PLLSource = source;
    oscillator.PLL.PLLM = 1;
    oscillator.PLL.PLLN = multiplier; // to 160 MHz
    oscillator.PLL.PLLP = RCC_PLLP_DIV7;
    oscillator.PLL.PLLQ = RCC_PLLQ_DIV4;
    oscillator.PLL.PLLR = RCC_PLLR_DIV2;
    return HAL_RCC_OscConfig(&oscillator) == HAL_OK;
}

extern "C" void SystemClock_Config(void)
{
    RCC_ClkInitTypeDef clocks = {};
    if (!start_pll(RCC_PLLSOURCE_HSE, 20) && !start_pll(RCC_PLLSOURCE_MSI, 40)) {
        Error_Handler();
    }
    clocks.ClockType =
        RCC_CLOCKTYPE_SYSCLK | RCC_CLOCKTYPE_HCLK | RCC_CLOCKTYPE_PCLK1 | RCC_CLOCKTYPE_PCLK2;
    clocks.SYSCLKSource = RCC_SYSCLKSOURCE_PLLCLK;
    clocks.AHBCLKDivider = RCC_SYSCLK_DIV1;
    clocks.APB1CLKDivider = RCC_HCLK_DIV1;
    clocks.APB2CLKDivider = RCC_HCLK_DIV1;
    if (HAL_RCC_ClockConfig(&clocks, FLASH_LATENCY_4) != HAL_OK) {
        Error_Handler();
    }
}
