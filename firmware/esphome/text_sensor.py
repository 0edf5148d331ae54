"""A text sensor of the emotion that the microphone hears, and if asked for, of its confidence in percent."""

import esphome.codegen as cg
import esphome.config_validation as cv
from esphome.components import microphone, sensor, text_sensor
from esphome.const import CONF_MICROPHONE, PLATFORM_ESP32, STATE_CLASS_MEASUREMENT, UNIT_PERCENT

from . import SAMPLE_RATE

AUTO_LOAD = ["audio", "sensor"]
DEPENDENCIES = ["microphone"]

CONF_CONFIDENCE = "confidence"

serq_mcu_ns = cg.esphome_ns.namespace("serq_mcu")
SerqMcu = serq_mcu_ns.class_("SerqMcu", text_sensor.TextSensor, cg.Component)

CONFIG_SCHEMA = cv.All(
    text_sensor.text_sensor_schema(SerqMcu, icon="mdi:emoticon-outline")
    .extend(
        {
            # all bits: the model's own gain is applied here
            cv.Required(CONF_MICROPHONE): microphone.microphone_source_schema(
                min_bits_per_sample=32, max_bits_per_sample=32
            ),
            cv.Optional(CONF_CONFIDENCE): sensor.sensor_schema(
                unit_of_measurement=UNIT_PERCENT,
                accuracy_decimals=0,
                icon="mdi:percent",
                state_class=STATE_CLASS_MEASUREMENT,
            ),
        }
    )
    .extend(cv.COMPONENT_SCHEMA),
    cv.only_on([PLATFORM_ESP32]),
)

FINAL_VALIDATE_SCHEMA = cv.Schema(
    {
        cv.Required(CONF_MICROPHONE): microphone.final_validate_microphone_source_schema(
            "serq_mcu", sample_rate=SAMPLE_RATE
        )
    },
    extra=cv.ALLOW_EXTRA,
)


async def to_code(config):
    """Write the calls that set the component up."""
    var = await text_sensor.new_text_sensor(config)
    await cg.register_component(var, config)
    source = await microphone.microphone_source_to_code(config[CONF_MICROPHONE])
    cg.add(var.set_microphone_source(source))
    if CONF_CONFIDENCE in config:
        cg.add(var.set_confidence_sensor(await sensor.new_sensor(config[CONF_CONFIDENCE])))
