// Nucleo-F446RE: 180 MHz from the ST-LINK's 8 MHz (a crystal, some 50 ppm) in place of the chip's
// RC oscillator (1 %), which is what the core's own function takes. Where no clock comes in, the RC
// oscillator serves, and the sample rate is as true as that.
#include <Arduino.h>

static bool start_pll(uint32_t source, uint32_t divider)
{
    RCC_OscInitTypeDef oscillator = {};
    if (source == RCC_PLLSOURCE_HSE) {
        oscillator.OscillatorType = RCC_OSCILLATORTYPE_HSE;
        oscillator.HSEState = RCC_HSE_BYPASS;
    } else {
        oscillator.OscillatorType = RCC_OSCILLATORTYPE_HSI;
        oscillator.HSIState = RCC_HSI_ON;
        oscillator.HSICalibrationValue = RCC_HSICALIBRATION_DEFAULT;
    }
    oscillator.PLL.PLLState = RCC_PLL_ON;
    oscillator.PLL.PLLSource = source;
    oscillator.PLL.PLLM = divider; // to 2 MHz
    oscillator.PLL.PLLN = 180;
    oscillator.PLL.PLLP = RCC_PLLP_DIV2;
    oscillator.PLL.PLLQ = 8;
    oscillator.PLL.PLLR = 2;
    return HAL_RCC_OscConfig(&oscillator) == HAL_OK;
}

extern "C" void SystemClock_Config(void)
{
    RCC_ClkInitTypeDef clocks = {};
    __HAL_RCC_PWR_CLK_ENABLE();
    __HAL_PWR_VOLTAGESCALING_CONFIG(PWR_REGULATOR_VOLTAGE_SCALE1);
    if (!start_pll(RCC_PLLSOURCE_HSE, 4) && !start_pll(RCC_PLLSOURCE_HSI, 8)) {
        Error_Handler();
    }
    if (HAL_PWREx_EnableOverDrive() != HAL_OK) { // above 168 MHz
        Error_Handler();
    }
    clocks.ClockType =
        RCC_CLOCKTYPE_SYSCLK | RCC_CLOCKTYPE_HCLK | RCC_CLOCKTYPE_PCLK1 | RCC_CLOCKTYPE_PCLK2;
    clocks.SYSCLKSource = RCC_SYSCLKSOURCE_PLLCLK;
    clocks.AHBCLKDivider = RCC_SYSCLK_DIV1;
    clocks.APB1CLKDivider = RCC_HCLK_DIV4;
    clocks.APB2CLKDivider = RCC_HCLK_DIV2;
    if (HAL_RCC_ClockConfig(&clocks, FLASH_LATENCY_5) != HAL_OK) {
        Error_Handler();
    }
}
