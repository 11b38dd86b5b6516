"""Words of the water meters' pages in English, Spanish and Portuguese; loaded with the first page."""

from typing import Final

LANGUAGES: Final = ("pt", "es", "en")
"""Portuguese is this family's own."""

_ROWS: Final = {
    # name: (Portuguese, Spanish, English)
    "dashboard": ("Painel", "Panel", "Dashboard"),
    "control": ("Controle", "Control", "Control"),
    "switches": ("Relés e válvulas", "Relés y válvulas", "Relays and valves"),
    "turn_on": ("Ligar", "Encender", "Turn on"),
    "turn_off": ("Desligar", "Apagar", "Turn off"),
    "is_on": ("ligado", "encendido", "on"),
    "is_off": ("desligado", "apagado", "off"),
    "is_unknown": ("desconhecido", "desconocido", "unknown"),
    "on_its_way": ("a caminho", "en camino", "on its way"),
    "device_gone": ("O dispositivo não existe mais.", "El dispositivo ya no existe.", "The device is gone."),
    "customers": ("Clientes", "Clientes", "Customers"),
    "meters": ("Medidores", "Medidores", "Meters"),
    "meter": ("Medidor", "Medidor", "Meter"),
    "sections": ("Seções", "Secciones", "Sections"),
    "sign_in": ("Entrar", "Entrar", "Sign in"),
    "sign_in_lead": (
        "Entre para ver os seus hidrômetros.",
        "Entre para ver sus medidores de agua.",
        "Sign in to see your water meters.",
    ),
    "user": ("Usuário ou e-mail", "Usuario o correo", "User name or e-mail"),
    "password": ("Senha", "Contraseña", "Password"),
    "wrong": (
        "Usuário ou senha incorretos.",
        "Usuario o contraseña incorrectos.",
        "Wrong user name or password.",
    ),
    "too_many": (
        "Tentativas demais. Tente de novo em alguns minutos.",
        "Demasiados intentos. Vuelva a probar en unos minutos.",
        "Too many attempts. Try again in a few minutes.",
    ),
    "sign_out": ("Sair", "Salir", "Sign out"),
    "sign_out_ask": ("Deseja sair?", "¿Desea salir?", "Sign out?"),
    "sign_out_lead": (
        "A sessão deste navegador termina.",
        "La sesión de este navegador termina.",
        "The session of this browser ends.",
    ),
    "stay": ("Ficar", "Quedarse", "Stay"),
    "all_meters": ("Todos os medidores", "Todos los medidores", "All meters"),
    "total": ("Volume total", "Volumen total", "Total volume"),
    "flow": ("Vazão", "Caudal", "Flow"),
    "litres": ("L", "L", "L"),
    "flow_unit": ("L/min", "L/min", "L/min"),
    "nothing_yet": ("Nenhuma leitura ainda", "Todavía no hay lecturas", "No readings yet"),
    "nothing_yet_lead": (
        "Publique em {topic} ou envie para /api/data; a leitura aparece aqui na hora.",
        "Publique en {topic} o envíe a /api/data; la lectura aparece aquí al momento.",
        "Publish to {topic} or post to /api/data; the reading is here at once.",
    ),
    "last_reading": ("Última leitura", "Última lectura", "Last reading"),
    "no_serial": ("sem número de série", "sin número de serie", "no serial number"),
    "chart": ("Vazão recente", "Caudal reciente", "Recent flow"),
    "chart_lead": ("Últimas {n} leituras", "Últimas {n} lecturas", "Last {n} readings"),
    "live": ("Ao vivo", "En vivo", "Live"),
    "connecting": ("Conectando…", "Conectando…", "Connecting…"),
    "polling": (
        "Reconectando; consulta a cada 5 s",
        "Reconectando; consulta cada 5 s",
        "Reconnecting; asking every 5 s",
    ),
    "away": ("Sem conexão com o servidor", "Sin conexión con el servidor", "No connection to the server"),
    "alerts": ("Alertas de vazamento", "Alertas de fuga", "Leak alerts"),
    "no_alerts": ("Nenhum vazamento em aberto.", "Ninguna fuga abierta.", "No open leaks."),
    "leak_text": (
        "{serial}: {flow} L/min por {duration} s",
        "{serial}: {flow} L/min durante {duration} s",
        "{serial}: {flow} L/min for {duration} s",
    ),
    "resolve": ("Resolver", "Resolver", "Resolve"),
    "try_again": ("Não deu certo; tente de novo", "No se pudo; pruebe de nuevo", "That failed; try again"),
    "needs_js": (
        "Sem JavaScript esta página não se atualiza sozinha.",
        "Sin JavaScript esta página no se actualiza sola.",
        "Without JavaScript this page does not update itself.",
    ),
    "for_whom": ("Para qual medidor", "Para qué medidor", "For which meter"),
    "what": ("O que fazer", "Qué hacer", "What to do"),
    "reset": ("Zerar o volume total", "Poner a cero el volumen total", "Set the total to zero"),
    "setCalibration": ("Mudar a calibração", "Cambiar la calibración", "Change the calibration"),
    "simulate": ("Simular uma vazão", "Simular un caudal", "Simulate a flow"),
    "simSetFlow": ("Mudar a vazão simulada", "Cambiar el caudal simulado", "Change the simulated flow"),
    "simOff": ("Parar a simulação", "Detener la simulación", "Stop simulating"),
    "simulateOff": ("Parar a simulação", "Detener la simulación", "Stop simulating"),
    "reset_note": (
        "O medidor recomeça em 0 L.",
        "El medidor vuelve a empezar en 0 L.",
        "The meter starts again at 0 L.",
    ),
    "setCalibration_note": (
        "Pulsos por segundo para cada L/min; 7,5 no YF-S201.",
        "Pulsos por segundo por cada L/min; 7,5 en el YF-S201.",
        "Pulses per second for each L/min; 7.5 for the YF-S201.",
    ),
    "simulate_note": (
        "Em L/min; 8 se ficar vazio.",
        "En L/min; 8 si queda vacío.",
        "In L/min; 8 when left empty.",
    ),
    "simOff_note": (
        "O medidor volta a contar pulsos.",
        "El medidor vuelve a contar pulsos.",
        "The meter counts pulses again.",
    ),
    "factor": ("Fator", "Factor", "Factor"),
    "send": ("Enviar", "Enviar", "Send"),
    "confirm_title": ("Confirme antes de enviar", "Confirme antes de enviar", "Confirm before it is sent"),
    "confirm_all": (
        "“{action}” vai para {n} medidores ao mesmo tempo.",
        "«{action}» va a {n} medidores a la vez.",
        "“{action}” goes to {n} meters at once.",
    ),
    "confirm_one": (
        "{serial} divide o tópico de comandos com {n} medidores. Medidores antigos não olham o número de série e também"
        " obedecem.",
        "{serial} comparte el tópico de comandos con {n} medidores. Los antiguos no miran el número de serie y también"
        " obedecen.",
        "{serial} shares its command topic with {n} meters. Old ones do not look at the serial number and obey too.",
    ),
    "confirm_yes": ("Entendo, enviar mesmo assim", "Entiendo, enviar de todos modos", "I understand, send it anyway"),
    "confirm_no": ("Não enviar", "No enviar", "Do not send"),
    "sent_list": ("O que foi enviado", "Lo que se envió", "What was sent"),
    "sent_none": (
        "Nada foi enviado desde que o servidor começou.",
        "No se envió nada desde que empezó el servidor.",
        "Nothing was sent since the server started.",
    ),
    "queued": ("aguardando o medidor", "esperando al medidor", "waiting for the meter"),
    "sent": ("enviado", "enviado", "sent"),
    "sent_all": ("enviado a quem está ouvindo", "enviado a quienes escuchan", "sent to those that listen"),
    "confirmed": ("confirmado pela leitura", "confirmado por la lectura", "confirmed by a reading"),
    "failed": ("falhou", "falló", "failed"),
    "timed_out": ("sem resposta", "sin respuesta", "no answer"),
    "expired": ("não entregue a tempo", "no entregado a tiempo", "not delivered in time"),
    "cancelled": ("cancelado", "cancelado", "cancelled"),
    "no_proof": (
        "Medidores não respondem: a prova é a próxima leitura.",
        "Los medidores no responden: la prueba es la próxima lectura.",
        "Meters do not answer: the proof is their next reading.",
    ),
    "forbidden": (
        "Só administradores comandam medidores.",
        "Solo los administradores dan órdenes a los medidores.",
        "Only administrators command meters.",
    ),
    "form_old": (
        "Este formulário não vale mais; tente de novo.",
        "Este formulario ya no vale; pruebe de nuevo.",
        "This form is too old; try again.",
    ),
    "problem": ("Não foi possível: {text}", "No se pudo: {text}", "That did not work: {text}"),
    "number": ("Nº", "N.º", "No."),
    "serial": ("Número de série", "Número de serie", "Serial number"),
    "model": ("Modelo", "Modelo", "Model"),
    "state": ("Estado", "Estado", "State"),
    "Ativo": ("Ativo", "Activo", "Active"),
    "Inativo": ("Inativo", "Inactivo", "Inactive"),
    "Manutencao": ("Em manutenção", "En mantenimiento", "Being serviced"),
    "Defeito": ("Com defeito", "Averiado", "Defective"),
    "customer": ("Cliente", "Cliente", "Customer"),
    "nobody": ("ninguém", "nadie", "nobody"),
    "month_use": ("Consumo no mês", "Consumo del mes", "Used this month"),
    "months": ("Meses anteriores", "Meses anteriores", "Earlier months"),
    "cost": ("Custo", "Costo", "Cost"),
    "price": ("Tarifa por m³", "Tarifa por m³", "Price per m³"),
    "currency": ("Moeda", "Moneda", "Currency"),
    "name": ("Nome", "Nombre", "Name"),
    "contact": ("Contato", "Contacto", "Contact"),
    "edit": ("Editar", "Editar", "Edit"),
    "save": ("Salvar", "Guardar", "Save"),
    "new_customer": ("Novo cliente", "Nuevo cliente", "New customer"),
    "no_customers": ("Nenhum cliente ainda.", "Todavía no hay clientes.", "No customers yet."),
    "no_meters": ("Nenhum medidor registrado.", "Ningún medidor registrado.", "No meters are registered."),
    "no_meters_lead": (
        "Um medidor que publica aparece entre os não reivindicados:",
        "Un medidor que publica aparece entre los no reclamados:",
        "A meter that publishes is listed as not yet yours:",
    ),
    "claim_here": ("abrir a lista", "abrir la lista", "open the list"),
    "more": ("Todo o servidor", "Todo el servidor", "The whole server"),
}


def words(language: str) -> dict[str, str]:
    """Every word in one of :data:`LANGUAGES`."""
    column = LANGUAGES.index(language)
    return {name: row[column] for name, row in _ROWS.items()}


def preferred(accepted: str) -> str:
    """The language that an ``Accept-Language`` header likes most, Portuguese when it knows none of ours."""
    best, found = 0.0, LANGUAGES[0]
    for part in accepted.split(","):
        name, _, rest = part.strip().partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest.strip().startswith("q=") else 1.0
        except ValueError:
            weight = 0.0
        if language in LANGUAGES and weight > best:
            best, found = weight, language
    return found
