// STM32 F4, L4 and H7 under the Arduino core, analogue microphones: timer 3 starts each conversion
// of converter 1, DMA fills a ring of two halves, and an interrupt takes the full one.
#include <Arduino.h>

#include "audio.h"
#include "serq_board.h"

enum { WORDS = 128 }; // of a half: 8 ms at 16 kHz

#if defined(STM32F4xx)
#define DMA_UNIT DMA2_Stream0
#define DMA_INTERRUPT DMA2_Stream0_IRQn
#define DMA_HANDLER DMA2_Stream0_IRQHandler
#define TRIGGER ADC_EXTERNALTRIGCONV_T3_TRGO
#define SAMPLING ADC_SAMPLETIME_84CYCLES
#define RANK 1
#elif defined(STM32L4xx)
#define DMA_UNIT DMA1_Channel1
#define DMA_INTERRUPT DMA1_Channel1_IRQn
#define DMA_HANDLER DMA1_Channel1_IRQHandler
#define TRIGGER ADC_EXTERNALTRIG_T3_TRGO
#define SAMPLING ADC_SAMPLETIME_47CYCLES_5
#define RANK ADC_REGULAR_RANK_1
#elif defined(STM32H7xx)
#define DMA_UNIT DMA1_Stream0
#define DMA_INTERRUPT DMA1_Stream0_IRQn
#define DMA_HANDLER DMA1_Stream0_IRQHandler
#define TRIGGER ADC_EXTERNALTRIG_T3_TRGO
#define SAMPLING ADC_SAMPLETIME_64CYCLES_5
#define RANK ADC_REGULAR_RANK_1
#else
#error "this driver knows the STM32 families F4, L4 and H7"
#endif

static uint16_t halves[2][WORDS] __attribute__((aligned(32))); // whole lines of the data cache
static ADC_HandleTypeDef converter;
static DMA_HandleTypeDef dma;

static void take(uint16_t *words)
{
#if defined(STM32H7xx)
    SCB_InvalidateDCache_by_Addr(reinterpret_cast<uint32_t *>(words),
                                 sizeof halves[0]); // DMA wrote behind the cache
#endif
    audio_take_adc(words, WORDS);
}

extern "C" void HAL_ADC_ConvHalfCpltCallback(ADC_HandleTypeDef *)
{
    take(halves[0]);
}

extern "C" void HAL_ADC_ConvCpltCallback(ADC_HandleTypeDef *)
{
    take(halves[1]);
}

extern "C" void DMA_HANDLER(void)
{
    HAL_DMA_IRQHandler(&dma);
}

static bool set_up_dma()
{
#if defined(STM32F4xx)
    __HAL_RCC_DMA2_CLK_ENABLE();
    dma.Init.Channel = DMA_CHANNEL_0;
#else
    __HAL_RCC_DMA1_CLK_ENABLE();
#if defined(STM32H7xx)
    dma.Init.Request = DMA_REQUEST_ADC1;
#else
    dma.Init.Request = DMA_REQUEST_0;
#endif
#endif
    dma.Instance = DMA_UNIT;
    dma.Init.Direction = DMA_PERIPH_TO_MEMORY;
    dma.Init.PeriphInc = DMA_PINC_DISABLE;
    dma.Init.MemInc = DMA_MINC_ENABLE;
    dma.Init.PeriphDataAlignment = DMA_PDATAALIGN_HALFWORD;
    dma.Init.MemDataAlignment = DMA_MDATAALIGN_HALFWORD;
    dma.Init.Mode = DMA_CIRCULAR;
    dma.Init.Priority = DMA_PRIORITY_HIGH;
    if (HAL_DMA_Init(&dma) != HAL_OK) {
        return false;
    }
    __HAL_LINKDMA(&converter, DMA_Handle, dma);
    HAL_NVIC_SetPriority(DMA_INTERRUPT, 5, 0);
    HAL_NVIC_EnableIRQ(DMA_INTERRUPT);
    return true;
}

static bool set_up_converter(PinName pin)
{
    ADC_ChannelConfTypeDef channel = {};
    uint32_t bank = 0;
    converter.Instance = ADC1;
    converter.Init.Resolution = ADC_RESOLUTION_12B;
    converter.Init.EOCSelection = ADC_EOC_SINGLE_CONV;
    converter.Init.NbrOfConversion = 1;
    converter.Init.ExternalTrigConv = TRIGGER;
    converter.Init.ExternalTrigConvEdge = ADC_EXTERNALTRIGCONVEDGE_RISING;
#if defined(STM32F4xx)
    converter.Init.ClockPrescaler = ADC_CLOCK_SYNC_PCLK_DIV4;
    converter.Init.DataAlign = ADC_DATAALIGN_RIGHT;
    converter.Init.DMAContinuousRequests = ENABLE;
#else
    converter.Init.Overrun = ADC_OVR_DATA_OVERWRITTEN;
    channel.SingleDiff = ADC_SINGLE_ENDED;
    channel.OffsetNumber = ADC_OFFSET_NONE;
#if defined(STM32H7xx)
    converter.Init.ClockPrescaler = ADC_CLOCK_ASYNC_DIV4;
    converter.Init.ConversionDataManagement = ADC_CONVERSIONDATA_DMA_CIRCULAR;
#else
    converter.Init.ClockPrescaler = ADC_CLOCK_SYNC_PCLK_DIV4;
    converter.Init.DataAlign = ADC_DATAALIGN_RIGHT;
    converter.Init.DMAContinuousRequests = ENABLE;
#endif
#endif
    channel.Channel = get_adc_channel(pin, &bank);
    channel.Rank = RANK;
    channel.SamplingTime = SAMPLING;
    if (HAL_ADC_Init(&converter) != HAL_OK ||
        HAL_ADC_ConfigChannel(&converter, &channel) != HAL_OK) {
        return false;
    }
#if defined(STM32L4xx)
    if (HAL_ADCEx_Calibration_Start(&converter, ADC_SINGLE_ENDED) != HAL_OK) {
        return false;
    }
#elif defined(STM32H7xx)
    if (HAL_ADCEx_Calibration_Start(&converter, ADC_CALIB_OFFSET, ADC_SINGLE_ENDED) != HAL_OK) {
        return false;
    }
#endif
    return HAL_ADC_Start_DMA(&converter, reinterpret_cast<uint32_t *>(halves), 2 * WORDS) == HAL_OK;
}

static bool start_timer()
{
    static HardwareTimer timer(TIM3);
    TIM_MasterConfigTypeDef master = {};
    timer.setOverflow(SERQ_AUDIO_RATE, HERTZ_FORMAT);
    master.MasterOutputTrigger = TIM_TRGO_UPDATE;
    master.MasterSlaveMode = TIM_MASTERSLAVEMODE_DISABLE;
    if (HAL_TIMEx_MasterConfigSynchronization(timer.getHandle(), &master) != HAL_OK) {
        return false;
    }
    timer.resume();
    return true;
}

bool audio_start(void)
{
    PinName pin = analogInputToPinName(SERQ_AUDIO_ADC_PIN);
    if (pinmap_peripheral(pin, PinMap_ADC) != ADC1) {
        return false; // a pin of another converter, or of none
    }
    analogRead(SERQ_AUDIO_ADC_PIN); // the core notes the pin, and sets it and the clock up again in
                                    // HAL_ADC_Init()
    return set_up_dma() && set_up_converter(pin) && start_timer();
}
