// What the drivers under test call of their vendors' headers, made up for this computer: enough to see what
// they set. VENDOR_* chooses which.
#pragma once
#include <cstdint>
#include <cstddef>
#include <cstring>

#ifdef VENDOR_LIGHTS
enum { LOW, HIGH, OUTPUT = 1 };
void pinMode(uint32_t pin, uint32_t mode);
void digitalWrite(uint32_t pin, uint32_t value);
#endif

#ifdef VENDOR_STM32
struct RCC_PLLInitTypeDef { uint32_t PLLState, PLLSource, PLLM, PLLN, PLLP, PLLQ, PLLR; };
struct RCC_OscInitTypeDef {
    uint32_t OscillatorType, HSEState, HSIState, HSICalibrationValue, MSIState, MSICalibrationValue, MSIClockRange;
    RCC_PLLInitTypeDef PLL;
};
struct RCC_ClkInitTypeDef { uint32_t ClockType, SYSCLKSource, AHBCLKDivider, APB1CLKDivider, APB2CLKDivider; };
enum { HAL_OK, HAL_ERROR };
enum { RCC_OSCILLATORTYPE_HSE = 1, RCC_OSCILLATORTYPE_HSI = 2, RCC_OSCILLATORTYPE_MSI = 4 };
enum { RCC_HSE_BYPASS = 5, RCC_HSI_ON = 1, RCC_MSI_ON = 1, RCC_PLL_ON = 2, RCC_MSIRANGE_6 = 6 };
enum { RCC_PLLSOURCE_HSE = 11, RCC_PLLSOURCE_HSI = 12, RCC_PLLSOURCE_MSI = 13 };
enum { RCC_HSICALIBRATION_DEFAULT = 16, RCC_MSICALIBRATION_DEFAULT = 0 };
enum { RCC_PLLP_DIV2 = 2, RCC_PLLP_DIV7 = 7, RCC_PLLQ_DIV4 = 4, RCC_PLLR_DIV2 = 2 };
enum { RCC_CLOCKTYPE_SYSCLK = 1, RCC_CLOCKTYPE_HCLK = 2, RCC_CLOCKTYPE_PCLK1 = 4, RCC_CLOCKTYPE_PCLK2 = 8 };
enum { RCC_SYSCLKSOURCE_PLLCLK = 3, RCC_SYSCLK_DIV1 = 1, RCC_HCLK_DIV1 = 1, RCC_HCLK_DIV2 = 2, RCC_HCLK_DIV4 = 4 };
enum { FLASH_LATENCY_4 = 4, FLASH_LATENCY_5 = 5, PWR_REGULATOR_VOLTAGE_SCALE1 = 1 };
#define __HAL_RCC_PWR_CLK_ENABLE()
#define __HAL_PWR_VOLTAGESCALING_CONFIG(scale)
uint32_t HAL_RCC_OscConfig(RCC_OscInitTypeDef *oscillator);
uint32_t HAL_RCC_ClockConfig(RCC_ClkInitTypeDef *clocks, uint32_t latency);
uint32_t HAL_PWREx_EnableOverDrive();
void Error_Handler();
#endif

#ifdef VENDOR_TEENSY
enum { A0 = 14, A11 = 25, A16 = 40, A17 = 41 };
extern volatile uint32_t ADC1_R0, ADC1_HC0;
#define ADC_HC_ADCH(n) (n)
class IntervalTimer {
public:
    bool begin(void (*)(), double) { return true; }
};
void analogReadResolution(int);
void analogReadAveraging(int);
int analogRead(uint8_t);
#endif
